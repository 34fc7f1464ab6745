import type { Adapter } from '../../src/core/adapter';
import type { ModelSource } from '../../src/core/model';
import { AnsweringModel } from '../../src/models/answering';
import { openDevice } from '../../src/runtime/device';
import { nodeGpu } from '../gpu';

/** The engine's own logits of every position, from the GPU. */
export async function engineLogits(source: ModelSource, ids: readonly number[], adapter: Adapter | null = null): Promise<Float32Array[]> {
  const model = await AnsweringModel.load(await openDevice(await nodeGpu()), source);
  try {
    const { inference } = await model.answerer(adapter ? [{ adapter, strength: 1 }] : [], ids.length);
    return await inference.allLogits(ids);
  } finally {
    model.destroy();
  }
}
