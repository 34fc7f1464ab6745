import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dequantize } from '../../src/core/blocks';
import { openModel } from '../../src/formats/open-model';
import { readSafetensors } from '../../src/safetensors/reader';
import { fileSource, folderSources } from '../files';
import { shared } from '../shared';
import { largestDifference, referenceLogits } from './decoder';

describe.each(['tiny-llama', 'stories260K', 'tiny-qwen2', 'tiny-qwen3', 'tiny-gemma2', 'tiny-gemma3'])('the f64 reference on %s (skipped without ../shared/goldens)', (name) => {
  const golden = shared(`goldens/training/${name}`);
  it.skipIf(!golden)("gives PyTorch's logits", async () => {
    const { logits } = JSON.parse(readFileSync(`${golden}/case.json`, 'utf8')) as { logits: { input_ids: number[] } };
    const file = await fileSource(`${golden}/logits.safetensors`);
    const info = (await readSafetensors(file)).tensors.get('logits')!;
    const expected = dequantize('F32', await file.read(info.offset, info.bytes));
    const model = await openModel(await folderSources(shared(`models/${name}`)!, /json$|safetensors$/));
    const actual = await referenceLogits(model, logits.input_ids);
    const V = model.config.vocab_size;
    // Both are f64; the golden was rounded to f32, and transformers computes rope angles in f32.
    expect(largestDifference(actual, actual.map((_, t) => expected.subarray(t * V, (t + 1) * V)))).toBeLessThan(1e-5);
  });
});
