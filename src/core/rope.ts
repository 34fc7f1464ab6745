import type { ModelConfig } from './model';

/** Values of each head that rotate. */
export function rotaryDim({ head_dim, partial_rotary_factor }: ModelConfig): number {
  return Math.trunc(head_dim * partial_rotary_factor);
}

/** Llama 3's rope scaling, under the keys of config.json. */
export interface Llama3RopeScaling {
  factor: number;
  low_freq_factor: number;
  high_freq_factor: number;
  original_max_position_embeddings: number;
}

/**
 * Divisors of the rotaryDim / 2 rope frequencies under Llama 3's scaling: wavelengths λ = 2π / f shorter than
 * original / high stay, those longer than original / low are stretched by the factor, between them interpolated
 * (Llama 3.1 model code; the same numbers as llama.cpp's rope_freqs.weight).
 */
export function llama3RopeFactors(theta: number, rotaryDim: number, scaling: Llama3RopeScaling): number[] {
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: original } = scaling;
  return Array.from({ length: rotaryDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * theta ** ((2 * i) / rotaryDim);
    if (wavelength < original / high) return 1;
    if (wavelength > original / low) return factor;
    const smooth = (original / wavelength - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

/**
 * What long-rope multiplies cosines and sines by: √(1 + ln(stretch) / ln(original)) (Ding et al. 2024);
 * stretch: how many times the original length the model was stretched to.
 */
export function longRopeAttentionFactor(stretch: number, original: number): number {
  return stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));
}
