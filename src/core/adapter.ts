import type { Projection } from './model';

/** A LoRA's shape, in PEFT's own key names (adapter_config.json). */
export interface LoraConfig {
  r: number;
  lora_alpha: number;
  lora_dropout: number;
  target_modules: Projection[];
  use_rslora: boolean;
}

/**
 * A LoRA adapter in memory: f32 tensors under PEFT's names,
 * `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` with A `[r, in]`, B `[out, r]`.
 */
export interface Adapter {
  config: LoraConfig;
  tensors: Map<string, AdapterTensor>;
}

export interface AdapterTensor {
  shape: [number, number];
  data: Float32Array;
}

/** alpha / r, or alpha / sqrt(r) with rsLoRA: what B·A is multiplied by. */
export function loraScale(config: LoraConfig): number {
  return config.lora_alpha / (config.use_rslora ? Math.sqrt(config.r) : config.r);
}

/** PEFT's name of one half of a pair, for a module path such as `model.layers.0.self_attn.q_proj`. */
export function peftName(modulePath: string, half: 'A' | 'B'): string {
  return `base_model.model.${modulePath}.lora_${half}.weight`;
}
