import type { AnswerDifference, Certificate, ExportKind, Progress } from '../workers/api';
import { formatKl, sameShare } from './drift';
import { formatCount, plural } from './format';
import { saveFile } from './save-file';

const KINDS: Record<ExportKind, string> = {
  gguf: 'GGUF model',
  'gguf-adapter': 'GGUF adapter',
  peft: 'PEFT adapter',
  safetensors: 'safetensors model',
  mlx: 'MLX adapter',
  modelfile: 'folder for Ollama',
  lmstudio: 'folder for LM Studio',
};

/** `model.gguf` → `model.certificate.json`, to lie beside it. */
export function certificateName(fileName: string): string {
  return `${fileName.replace(/\.(gguf|zip)$/i, '')}.certificate.json`;
}

/** Saves a certificate as JSON, to lie beside the file that it is of. */
export function saveCertificate(fileName: string, certificate: Certificate): void {
  saveFile(certificateName(fileName), `${JSON.stringify(certificate, null, 2)}\n`, 'application/json');
}

/** What was exported and when: "GGUF model, Q8_0, 3 Mar 2026". A kind of another version is named as its file has it. */
export function exportWords({ kind, type, made }: Pick<Certificate, 'kind' | 'type' | 'made'>): string {
  const day = new Date(made).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', year: 'numeric' });
  return [KINDS[kind as ExportKind] ?? kind, type, day].filter((word) => word !== null).join(', ');
}

/** What is certified of a run or adapter, its certificates given newest first: the newest, and how many others; '' without any. */
export function certifiedWords(kept: readonly { certificate: Pick<Certificate, 'kind' | 'type' | 'made'> }[]): string {
  const [newest, ...others] = kept;
  if (!newest) return '';
  return `Certified: ${exportWords(newest.certificate)}${others.length > 0 ? ` and ${plural(others.length, 'other')}` : ''}`;
}

/** One comparison of answers as a line of a table. */
export interface ComparisonLine {
  what: string;
  same: string;
  kl: string;
  logit: string;
}

/** What was compared: the file with the trained model, and apart from that what merging and what storing in fewer bits cost. */
export function comparisonLines({ answers, type }: Pick<Certificate, 'answers' | 'type'>): ComparisonLine[] {
  if (!answers) return [];
  const line = (what: string, difference: AnswerDifference | null): ComparisonLine[] =>
    difference ? [{ what, same: sameShare(difference.top1), kl: formatKl(difference.mean_kl), logit: formatLogit(difference.max_logit) }] : [];
  return [
    ...line('The file against the trained model', answers.file),
    ...line('Of this, merging the adapter', answers.merge),
    ...line(`Of this, storing it as ${type ?? 'it is'}`, answers.rounding),
  ];
}

/** "8 fixed questions, compared at 64 places." */
export function placesWords({ prompts, file }: NonNullable<Certificate['answers']>): string {
  return `${plural(prompts.length, 'fixed question')}, compared at ${plural(file.places, 'place')}.`;
}

/** Up to where the comparison passes, and why; where weights were rounded, it is the rounding that is held to it. */
export function limitWords({ answers, type }: Pick<Certificate, 'answers' | 'type'>): string {
  if (!answers) return '';
  const { rounding, limit, reason } = answers;
  return `${rounding ? `Storing it as ${type} may cost` : 'It may be'} up to ${formatKl(limit)}: ${reason}.`;
}

/** "29 tensors read again, each as close as its type allows." */
export function weightsWords({ tensors, exact }: Certificate['weights']): string {
  const read = `${plural(tensors, 'tensor')} read again`;
  if (exact === tensors) return `${read}, all bit for bit as meant.`;
  return exact === 0 ? `${read}, each as close as its type allows.` : `${read}, ${formatCount(exact)} bit for bit as meant, the others as close as their type allows.`;
}

/** How far weights of one type are off, as a share of the largest one of their block. */
export function roundedWords({ type, tensors, error, limit, worst }: Certificate['weights']['rounded'][number]): string {
  if (error === 0) return `${formatCount(tensors)} as ${type}: none off`;
  const percent = (share: number) => `${Number((100 * share).toPrecision(2))}%`;
  return `${formatCount(tensors)} as ${type}: off by ${percent(error)} of the largest weight nearby at most (${worst}); ${type} explains ${percent(limit)}`;
}

function formatLogit(value: number): string {
  if (!Number.isFinite(value)) return 'not a number';
  return value === 0 ? '0' : value < 1e-3 ? value.toExponential(1) : value.toFixed(value < 1 ? 4 : 2);
}

/** What an export is doing, in words: writing comes first, and all that follows is the check. */
export function exportStage(progress: Progress): Progress {
  if (/^(Writing|Hashing|Checking)/.test(progress.label)) return progress;
  return { ...progress, label: `Checking the file: ${progress.label.charAt(0).toLowerCase()}${progress.label.slice(1)}` };
}
