import { ModelError } from '../errors';
import { PROJECTIONS, type ModelConfig, type Projection } from '../model';
import type { Family } from './family';
import { GEMMA2 } from './gemma2';
import { GEMMA3 } from './gemma3';
import { LLAMA } from './llama';
import { MISTRAL } from './mistral';
import { PHI3 } from './phi3';
import { QWEN2 } from './qwen2';
import { QWEN3 } from './qwen3';
import { SMOLLM3 } from './smollm3';

/** The model families that Hone trains. Where two share a GGUF architecture, the first is what such a file opens as. */
export const FAMILIES: readonly Family[] = [LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA2, GEMMA3, PHI3, SMOLLM3];

/** `model_type`s of models that see or hear as well, and of their text parts, by the family that the text part is of. */
export const TEXT_PARTS: Readonly<Record<string, string>> = {
  gemma3: 'gemma3_text',
  qwen2_vl: 'qwen2',
  qwen2_vl_text: 'qwen2',
  qwen2_5_vl: 'qwen2',
  qwen2_5_vl_text: 'qwen2',
  qwen3_vl: 'qwen3',
  qwen3_vl_text: 'qwen3',
  mistral3: 'mistral',
};

/** The family of a config that a reader made. */
export function familyOf(config: ModelConfig): Family {
  const family = FAMILIES.find(({ modelType }) => modelType === config.model_type);
  if (!family) throw new ModelError(`model_type is ${config.model_type}, and Hone trains ${knownFamilies()}; choose a model of one of these.`);
  return family;
}

/** "llama (Llama 2 and 3, …), mistral (…), …": for errors. */
export function knownFamilies(): string {
  return FAMILIES.map(({ modelType, examples }) => `${modelType} (${examples})`).join(', ');
}

/** The projections that a model has, in the decoder's order. */
export function projectionsOf(config: ModelConfig): Projection[] {
  const fused = familyOf(config).decoder.fused_projections;
  const others: Projection[] = fused ? ['q_proj', 'k_proj', 'v_proj', 'gate_proj', 'up_proj'] : ['qkv_proj', 'gate_up_proj'];
  return PROJECTIONS.filter((projection) => !others.includes(projection));
}
