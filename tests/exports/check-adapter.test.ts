import { describe, expect, it } from 'vitest';
import { peftName, type Adapter } from '../../src/core/adapter';
import { checkAdapterTensors } from '../../src/exports/check-adapter';
import { randomAdapter, TINY } from '../fixtures';

const NAME = peftName('model.layers.0.self_attn.v_proj', 'A');

/** The adapter with two more ranks in v_proj's first module, as a form of one rank fills it up; `beyond` stands in the last place. */
function filledUp(adapter: Adapter, beyond: number): Adapter {
  const tensors = new Map(adapter.tensors);
  const [a, b] = [tensors.get(NAME)!, tensors.get(NAME.replace('lora_A', 'lora_B'))!];
  const [r, columns] = a.shape;
  const A = new Float32Array((r + 2) * columns);
  A.set(a.data);
  A[A.length - 1] = beyond;
  const B = new Float32Array(b.shape[0] * (r + 2));
  b.data.forEach((value, i) => (B[Math.floor(i / r) * (r + 2) + (i % r)] = value));
  tensors.set(NAME, { shape: [r + 2, columns], data: A });
  tensors.set(NAME.replace('lora_A', 'lora_B'), { shape: [b.shape[0], r + 2], data: B });
  return { ...adapter, tensors };
}

describe('an adapter that is read again', () => {
  const adapter = randomAdapter(TINY, { r: 3 });

  it('is the trained one where ranks beyond its own are zeros', () => {
    const report = checkAdapterTensors(adapter, filledUp(adapter, 0));
    expect(report).toMatchObject({ tensors: adapter.tensors.size, exact: adapter.tensors.size, rounded: [] });
  });

  it('is another one where they are not', () => {
    expect(() => checkAdapterTensors(adapter, filledUp(adapter, 1e-9))).toThrow(`${NAME} differs`);
  });
});
