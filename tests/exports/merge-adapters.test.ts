import { describe, expect, it } from 'vitest';
import { loraRank, loraScale, peftName, type Adapter } from '../../src/core/adapter';
import { mergerOf } from '../../src/exports/merge';
import { mergeAdapters } from '../../src/exports/merge-adapters';
import { adaptedNormsReference } from '../../src/shaders/dora/dora.reference';
import { loraConfig, parseRecipe } from '../../src/training/recipe';
import { startingAdapter } from '../../src/training/starting-adapter';
import { TINY, randomAdapter } from '../fixtures';

const wide = randomAdapter(TINY, { r: 4, alpha_pattern: { up_proj: 3 } });
const narrow = randomAdapter(TINY, { r: 2, seed: 5, target_modules: ['q_proj', 'up_proj'], use_rslora: true });

/** s · B · A of a module, in f64. */
function change({ config, tensors }: Adapter, path: string): Float64Array {
  const [a, b] = [tensors.get(peftName(path, 'A')), tensors.get(peftName(path, 'B'))];
  if (!a || !b) return new Float64Array(0);
  const [rows, r] = b.shape;
  const columns = a.shape[1];
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < r; k++) for (let i = 0; i < columns; i++) out[row * columns + i]! += loraScale(config, path) * b.data[row * r + k]! * a.data[k * columns + i]!;
  }
  return out;
}

describe('merging adapters', () => {
  const merged = mergeAdapters([{ name: 'wide', adapter: wide, weight: 0.7 }, { name: 'narrow', adapter: narrow, weight: -0.3 }]);

  it('gives one whose change is the weighted sum of theirs, with their ranks side by side', () => {
    for (const path of ['model.layers.1.self_attn.q_proj', 'model.layers.0.mlp.up_proj', 'model.layers.2.mlp.down_proj']) {
      const [both, one, other] = [change(merged, path), change(wide, path), change(narrow, path)];
      both.forEach((value, i) => {
        // B was rounded to f32 once.
        expect(Math.abs(value - 0.7 * one[i]! + 0.3 * (other[i] ?? 0))).toBeLessThan(1e-6);
      });
    }
    expect(loraRank(merged.config, 'model.layers.1.self_attn.q_proj')).toBe(6);
    expect(loraRank(merged.config, 'model.layers.1.self_attn.k_proj')).toBe(4);
    expect(merged.config).toMatchObject({ r: 6, lora_alpha: 6, use_rslora: false, target_modules: wide.config.target_modules });
    expect(change(merged, 'model.layers.2.mlp.down_proj').some((value) => Math.abs(value) > 0.01)).toBe(true);
  });

  it('refuses a DoRA, adapters of different models, and weights that are no numbers', () => {
    const dora = randomAdapter(TINY, { use_dora: true });
    expect(() => mergeAdapters([{ name: 'a', adapter: wide, weight: 1 }, { name: 'b', adapter: dora, weight: 1 }])).toThrow("b is a DoRA: it scales the base's rows");
    const other = randomAdapter({ ...TINY, intermediate_size: 80 });
    expect(() => mergeAdapters([{ name: 'a', adapter: wide, weight: 1 }, { name: 'b', adapter: other, weight: 1 }])).toThrow('merge adapters of one model');
    expect(() => mergeAdapters([{ name: 'a', adapter: wide, weight: NaN }])).toThrow('The weight of a is NaN');
    expect(() => mergeAdapters([])).toThrow('no adapter to merge');
  });
});

describe('merging a DoRA into the base', () => {
  it('scales each row of W + s·B·A to its magnitude, wherever the rows begin', () => {
    const adapter = randomAdapter(TINY, { r: 5, use_dora: true });
    const path = 'model.layers.1.mlp.gate_proj';
    const [rows, columns] = [96, 64];
    const weight = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i) / 5);
    const [a, b] = [adapter.tensors.get(peftName(path, 'A'))!.data, adapter.tensors.get(peftName(path, 'B'))!.data];
    const norms = adaptedNormsReference(weight, a, b, [rows, columns, 5], 8 / 5);
    const delta = change(adapter, path);
    const tile = weight.slice(10 * columns, 30 * columns);
    mergerOf(adapter, path)!(tile, 10, columns);
    tile.forEach((value, i) => {
      const at = 10 * columns + i;
      const row = Math.floor(at / columns);
      const expected = (adapter.magnitudes.get(path)![row]! / norms[row]!) * (weight[at]! + delta[at]!);
      expect(Math.abs(value - expected)).toBeLessThan(1e-7);
    });
    expect(mergerOf(adapter, 'model.layers.9.mlp.gate_proj')).toBeNull();
  });
});

describe('an adapter to start from', () => {
  const recipe = (lora: object) => parseRecipe({ model: 'm', dataset: { path: 'd' }, lora }).lora!;

  it("acts at first as it did, whatever scale the recipe's alpha gives it", () => {
    const started = startingAdapter(recipe({ r: 4, lora_alpha: 20, use_rslora: true }), wide, TINY, 'folder');
    expect(started.config).toEqual(loraConfig(recipe({ r: 4, lora_alpha: 20, use_rslora: true }), TINY));
    for (const path of ['model.layers.0.mlp.up_proj', 'model.layers.2.self_attn.k_proj']) {
      const [now, before] = [change(started, path), change(wide, path)];
      now.forEach((value, i) => expect(Math.abs(value - before[i]!)).toBeLessThan(1e-7));
    }
    const same = startingAdapter(recipe({ r: 4, lora_alpha: 8, alpha_pattern: { up_proj: 3 } }), wide, TINY, 'folder');
    expect(same.tensors).toEqual(wide.tensors);
  });

  it('of another shape is refused by the setting that differs', () => {
    expect(() => startingAdapter(recipe({ r: 8 }), wide, TINY, 'folder')).toThrow('lora.r is 8, and lora.init_adapter (folder) has 4; make the two agree.');
    expect(() => startingAdapter(recipe({ r: 4, use_dora: true }), wide, TINY, 'folder')).toThrow('lora.use_dora is true, and lora.init_adapter (folder) has false');
    expect(() => startingAdapter(recipe({ r: 4, target_modules: ['q_proj'] }), wide, TINY, 'folder')).toThrow('lora.target_modules is q_proj, and');
    const uneven = randomAdapter(TINY, { r: 4, rank_pattern: { up_proj: 2 } });
    expect(() => startingAdapter(recipe({ r: 4 }), uneven, TINY, 'folder')).toThrow('lora.rank_pattern is 4 at model.layers.0.mlp.up_proj, and lora.init_adapter (folder) has 2');
  });
});
