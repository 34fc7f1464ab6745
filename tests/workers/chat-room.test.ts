import { beforeEach, describe, expect, it } from 'vitest';
import type { GenerateRequest } from '../../src/workers/api';
import { Studio } from '../../src/workers/studio';
import { randomAdapter } from '../fixtures';
import { Profile } from './profile';
import { ODD, peftFolder, tinyModelFile } from './tiny-model';

const ignore = () => undefined;
/** Most of its memory is matrices, whose rows fill blocks of 32. */
const WIDE = { ...ODD, hidden_size: 256, intermediate_size: 1024, num_attention_heads: 4, num_key_value_heads: 1, head_dim: 64 };
const NO_GPU = 'There is no GPU in this test.';

describe('room for a base that is to answer', () => {
  let studio: Studio;
  let modelId: string;
  const ask = (extra: Partial<GenerateRequest> = {}): Promise<unknown> => {
    const messages = [{ role: 'user' as const, content: 'Hi' }];
    return studio.generate({ ...{ modelId, runId: null, messages, maxTokens: 8, temperature: 0, topK: 0, topP: 1, seed: 1 }, ...extra }, ignore);
  };
  /** Bytes that the sentence names. */
  async function needed(extra: Partial<GenerateRequest> = {}): Promise<number> {
    await studio.setBudget(1000);
    const message = await ask(extra).then(() => '', (error: Error) => error.message);
    const [, value, unit] = /needs ([\d.]+) ([kM])B of GPU memory/.exec(message)!;
    return Number(value) * (unit === 'M' ? 1e6 : 1e3);
  }

  beforeEach(async () => {
    studio = new Studio(new Profile());
    modelId = (await studio.openModel({ kind: 'files', files: [await tinyModelFile('wide.gguf', WIDE)] }, ignore)).id;
  });

  it('is looked for before the GPU is asked, and a smaller model advised where no form fits', async () => {
    await expect(ask()).rejects.toThrow(NO_GPU);
    await studio.setBudget(1000);
    await expect(ask()).rejects.toThrow(/^odd needs .*B of GPU memory to answer, and the budget is 1\.0 kB; choose a smaller model or fewer tokens, or raise the budget under Diagnostics/);
  });

  it('is weights and caches: fewer bits need less, adapters and tokens more', async () => {
    const whole = await needed();
    // 2 layers of 3 · 256 · 1024 + 2.5 · 256 · 256 weights in 4 bytes each.
    expect(whole).toBeGreaterThan(2 * (3 * 256 * 1024 + 2.5 * 256 * 256) * 4);
    const [eight, four] = [await needed({ quantizeBase: 'Q8_0' }), await needed({ quantizeBase: 'Q4_0' })];
    expect(eight).toBeLessThan(0.6 * whole);
    expect(four).toBeLessThan(eight);
    const { id } = await studio.importAdapter(await peftFolder(randomAdapter(WIDE, { r: 4 })), modelId);
    expect(await needed({ adapters: [{ id, strength: 1 }] })).toBeGreaterThan(whole);
  });

  it('is found in 8 bits, else in 4', async () => {
    const [whole, eight, four] = [await needed(), await needed({ quantizeBase: 'Q8_0' }), await needed({ quantizeBase: 'Q4_0' })];
    await studio.setBudget((whole + eight) / 2);
    await expect(ask()).rejects.toThrow(/choose 8 bits for the base, which needs /);
    await expect(ask({ quantizeBase: 'Q8_0' })).rejects.toThrow(NO_GPU);
    await studio.setBudget((eight + four) / 2);
    await expect(ask()).rejects.toThrow(/choose 4 bits for the base, which needs /);
    await expect(ask({ quantizeBase: 'Q8_0' })).rejects.toThrow(/choose 4 bits for the base, which needs /);
    await expect(ask({ quantizeBase: 'Q4_0' })).rejects.toThrow(NO_GPU);
  });
});
