import { FAMILIES } from '../core/families';
import type { Family } from '../core/families/family';

/** Hugging Face's paths outside the layers → GGUF's, the same for all architectures. */
const TENSORS: Readonly<Record<string, string>> = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  lm_head: 'output',
};

/** The family that files of a `general.architecture` open as, or undefined. */
export function familyOfArchitecture(architecture: string | null): Family | undefined {
  return FAMILIES.find(({ gguf }) => gguf.architecture === architecture);
}

/** The architectures that can be read, for errors. */
export function knownArchitectures(): string {
  return [...new Set(FAMILIES.map(({ gguf }) => gguf.architecture))].join(', ');
}

/** GGUF's name of a Hugging Face weight or bias (`model.layers.3.self_attn.q_proj.weight`), or null where the family has none. */
export function ggufName(family: Family, name: string): string | null {
  const parts = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name);
  if (!parts) return null;
  const [, layer, path, kind] = parts;
  const named = layer === undefined ? TENSORS[path!] : family.gguf.layerTensors[path!];
  if (named === undefined) return null;
  return layer === undefined ? `${named}.${kind}` : `blk.${layer}.${named}.${kind}`;
}

/**
 * The row of GGUF's interleaved q or k matrix that holds row `row` of Hugging Face's:
 * h·D + j·D/2 + i ↔ h·D + 2i + j, with head size D and halves j = 0, 1.
 */
export function interleavedRow(row: number, headDim: number): number {
  const within = row % headDim;
  const half = headDim / 2;
  const j = within >= half ? 1 : 0;
  return row - within + 2 * (within - j * half) + j;
}

/** Whether a Hugging Face weight's rows are interleaved in GGUF files of a family. */
export function isInterleaved(family: Family, name: string): boolean {
  return family.gguf.interleavesHeads && /\.self_attn\.[qk]_proj\./.test(name);
}

/** Whether GGUF files hold a norm's weight with the family's offset already added: Gemma's 1. */
export function isOffsetNorm(family: Family, name: string): boolean {
  return family.decoder.norm_offset !== 0 && name.endsWith('norm.weight');
}
