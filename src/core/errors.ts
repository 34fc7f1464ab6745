/**
 * Every failure that a person can act on is a HoneError: one sentence that says what failed,
 * what was found, what was expected and what to do next. Anything else that is thrown is a defect.
 * The class name survives the bridge between worker and page (`error.name`).
 */
export class HoneError extends Error {
  override name = 'HoneError';
}

/** A GGUF file that cannot be read or written. */
export class GgufError extends HoneError {
  override name = 'GgufError';
}
/** A safetensors file, or the folder around it, that cannot be read or written. */
export class SafetensorsError extends HoneError {
  override name = 'SafetensorsError';
}
/** A model whose config, tensors, or adapter do not fit together. */
export class ModelError extends HoneError {
  override name = 'ModelError';
}
/** A tokenizer that cannot be built, or text it cannot encode. */
export class TokenizerError extends HoneError {
  override name = 'TokenizerError';
}
/** A chat template that fails to render a conversation. */
export class TemplateError extends HoneError {
  override name = 'TemplateError';
}
/** A data set in no known format, or with nothing to learn from. */
export class DatasetError extends HoneError {
  override name = 'DatasetError';
}
/** A recipe that does not follow its schema, or contradicts the model or the data. */
export class RecipeError extends HoneError {
  override name = 'RecipeError';
}
/** WebGPU missing, too small for the run, or lost. */
export class DeviceError extends HoneError {
  override name = 'DeviceError';
}
/** A store that is full, refused, or damaged. */
export class StorageError extends HoneError {
  override name = 'StorageError';
}
/** A download from the model hub that failed. */
export class HubError extends HoneError {
  override name = 'HubError';
}
/** An export that could not be written, or that differs from the model that was trained. */
export class ExportError extends HoneError {
  override name = 'ExportError';
}
/** Work that a person stopped: nothing failed. */
export class StoppedError extends HoneError {
  override name = 'StoppedError';
}
/** A training run that broke (a loss that is not a number) or was stopped. */
export class TrainingError extends HoneError {
  override name = 'TrainingError';
}
