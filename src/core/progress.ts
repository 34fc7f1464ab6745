/** Work that can say how far it is: bytes read, rows tokenised, tensors written. */
export interface Progress {
  /** What is being done, in a few plain words: "Reading the model". */
  label: string;
  done: number;
  total: number;
  unit: 'bytes' | 'rows' | 'tensors' | 'steps' | 'kernels';
}
export type OnProgress = (progress: Progress) => void;
