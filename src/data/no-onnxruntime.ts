/**
 * Stands in for onnxruntime-web and onnxruntime-common in the browser build (vite.config.ts): transformers.js
 * reads these names when it loads, and needs no more of them for tokenizers and chat templates.
 */
export const env = {};

export class Tensor {
  constructor() {
    throw new Error('onnxruntime tensors are not part of Hone; ask the tokenizer for plain arrays ({ return_tensor: false }).');
  }
}

export class InferenceSession {
  static create(): never {
    throw new Error('onnxruntime is not part of Hone: models run through its own WebGPU engine.');
  }
}
