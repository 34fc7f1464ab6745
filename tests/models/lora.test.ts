import { describe, expect, it } from 'vitest';
import { loraRank, loraScale, matchesPattern, patternComplaint, peftName, targetNames, targetedModules } from '../../src/core/adapter';
import type { Tensor } from '../../src/runtime/program';
import { initialAdapter, loraSpecs, project, type LoraPair } from '../../src/models/lora';
import { dropoutReference } from '../../src/shaders/dropout/dropout.reference';
import { linearReference } from '../../src/shaders/linear/linear.reference';
import { caseRandom, integers, normals, type OpCase, type OpSuite } from '../../src/shaders/suite';
import { scaleRowsReference } from '../../src/shaders/dora/dora.reference';
import { TINY, randomAdapter } from '../fixtures';
import { testOp } from '../ops/harness';

const [M, K, N, R] = [11, 12, 10, 3];
const SCALE = 1.5;

interface ProjectCase extends OpCase {
  dora: boolean;
  p: number;
}

function projectCase(name: string, dora: boolean, p: number): ProjectCase {
  const random = caseRandom(M, K, N, p * 100);
  const lengths = () => normals(random, N).map((x) => 2 + Math.abs(x));
  return {
    name,
    dora,
    p,
    dims: { M },
    inputs: {
      x: { shape: ['M', K], values: normals(random, M * K), trained: true },
      w: { shape: [N, K], values: normals(random, N * K) },
      A: { shape: [R, K], values: normals(random, R * K), trained: true },
      B: { shape: [N, R], values: normals(random, N * R), trained: true },
      ...(dora ? { magnitude: { shape: [N] as const, values: lengths(), trained: true }, norm: { shape: [N] as const, values: lengths() } } : {}),
      key: { shape: [4], dtype: 'u32', values: integers(random, 4, 2 ** 32) },
    },
  };
}

/** PEFT's own order: the plain product, then (m/n - 1) · W·d + (m/n) · s·B·A·d, d what dropout keeps. */
function projectReference({ x, w, A, B, magnitude, norm, key }: Record<string, Float64Array>, { dora, p }: ProjectCase): Float64Array {
  const d = p > 0 ? dropoutReference(x!, key!, 4, p) : x!;
  const rows = x!.length / K;
  const plain = linearReference(x!, w!, [rows, N, K]);
  const low = linearReference(linearReference(d, A!, [rows, R, K]), B!, [rows, N, R], SCALE);
  if (!dora) return plain.map((value, i) => value + low[i]!);
  const seen = linearReference(d, w!, [rows, N, K]);
  const scaled = scaleRowsReference(seen.map((value, i) => value + low[i]!), magnitude!, norm!);
  return plain.map((value, i) => value - seen[i]! + scaled[i]!);
}

const suite: OpSuite<ProjectCase> = {
  op: 'project',
  tolerance: 5e-6,
  reason: 'two or three products one after the other, each good to 2e-6 of its norm, and a division',
  cases: [projectCase('LoRA with dropout', false, 0.3), projectCase('DoRA', true, 0), projectCase('DoRA with dropout', true, 0.3)],
  record: (g, { x, w, A, B, magnitude, norm, key }: Record<string, Tensor>, { dora, p }) => {
    const dropout = p > 0 ? { p, key: key!, salt: 4 } : null;
    const pair: LoraPair = { A: A!, B: B!, scale: SCALE, dropout, dora: dora ? { magnitude: magnitude!, norm: norm! } : null, base: null };
    return project(g, x!, w!, pair);
  },
  reference: projectReference,
};

testOp(suite);

describe("modules, ranks and scales by PEFT's rules", () => {
  it('a target is the end of a path from a dot on, and the first that fits nothing is named with what there is', () => {
    expect(targetedModules(TINY, ['q_proj', 'model.layers.2.mlp.up_proj']).map(({ path }) => path)).toEqual([
      'model.layers.0.self_attn.q_proj',
      'model.layers.1.self_attn.q_proj',
      'model.layers.2.self_attn.q_proj',
      'model.layers.2.mlp.up_proj',
    ]);
    expect(() => targetedModules(TINY, ['proj'])).toThrow('target_modules names proj, and the modules of this llama model are q_proj, k_proj');
    expect(() => targetedModules(TINY, ['q_proj', 'qkv_proj'])).toThrow('target_modules names qkv_proj');
    expect(() => targetedModules(TINY, ['layers.3.mlp.up_proj'])).toThrow('names layers.3.mlp.up_proj');
  });

  it('modules are named shortly where all layers have them, else by their paths', () => {
    const q = [0, 1, 2].map((layer) => `model.layers.${layer}.self_attn.q_proj`);
    expect(targetNames(TINY, q)).toEqual(['q_proj']);
    expect(targetNames(TINY, q.slice(1))).toEqual(q.slice(1));
  });

  it('patterns fit from the beginning of a path or from a dot, and up to its end; the first that fits counts', () => {
    expect(matchesPattern('q_proj', 'model.layers.0.self_attn.q_proj')).toBe(true);
    expect(matchesPattern('proj', 'model.layers.0.self_attn.q_proj')).toBe(false);
    expect(matchesPattern('layers.1', 'model.layers.1.self_attn.q_proj')).toBe(false);
    expect(matchesPattern('layers\\.[01]\\..*_proj', 'model.layers.1.self_attn.q_proj')).toBe(true);
    expect(matchesPattern('^model.layers.1.mlp.up_proj', 'model.layers.1.mlp.up_proj')).toBe(true);
    const { config } = randomAdapter(TINY, { r: 4, rank_pattern: { 'layers.1.*q_proj': 9, q_proj: 2 }, alpha_pattern: { v_proj: 3 } });
    expect([0, 1].map((layer) => loraRank(config, `model.layers.${layer}.self_attn.q_proj`))).toEqual([2, 9]);
    expect(loraScale(config, 'model.layers.0.self_attn.q_proj')).toBe(8 / 2);
    expect(loraScale({ ...config, use_rslora: true }, 'model.layers.1.self_attn.q_proj')).toBe(8 / 3);
    expect(loraScale(config, 'model.layers.0.self_attn.v_proj')).toBe(3 / 4);
  });

  it('patterns that could take forever are found out', () => {
    for (const pattern of ['q_proj', 'model\\.layers\\.(0|1)\\.mlp\\..*', '^model.layers.1.mlp.up_proj']) expect(patternComplaint(pattern)).toBeNull();
    for (const pattern of ['(a+)+', '(x|xx)*', 'a*a*a*a*a*', '(?=a)', '[', 'a'.repeat(501)]) expect(patternComplaint(pattern), pattern).not.toBeNull();
  });

  it("specs have each module's rank, and with DoRA its magnitudes", () => {
    const { config, tensors } = randomAdapter(TINY, { r: 4, rank_pattern: { up_proj: 2 }, target_modules: ['up_proj', 'q_proj'], use_dora: true });
    const specs = loraSpecs(TINY, config);
    expect(specs.map(({ name, shape }) => [name, shape]).slice(3, 6)).toEqual([
      [peftName('model.layers.0.mlp.up_proj', 'A'), [2, 64]],
      [peftName('model.layers.0.mlp.up_proj', 'B'), [96, 2]],
      ['base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector', [96]],
    ]);
    for (const [name, { shape }] of tensors) expect(specs.find((spec) => spec.name === name)?.shape, name).toEqual(shape);
  });

  it('a fresh A is uniform within 1/√in, or with gaussian normal with the deviation 1/r, and B is zero', () => {
    const { config } = randomAdapter(TINY, { r: 8 });
    const values = (init: true | 'gaussian', half: 'A' | 'B'): number[] =>
      [...initialAdapter(TINY, config, 5, init).tensors].filter(([name]) => name.includes(`.lora_${half}.`) && name.includes('_attn')).flatMap(([, { data }]) => [...data]);
    const deviation = (all: number[]): number => Math.sqrt(all.reduce((sum, x) => sum + x * x, 0) / all.length);
    const kaiming = values(true, 'A');
    // q, k and v have 64 inputs, o has 96: a bound of 1/8 at most.
    expect(Math.max(...kaiming)).toBeLessThanOrEqual(1 / 8);
    expect(Math.max(...kaiming)).toBeGreaterThan(0.124);
    // 7,000 draws: the deviation is known to one part in 120.
    expect(deviation(values('gaussian', 'A'))).toBeGreaterThan(0.97 / 8);
    expect(deviation(values('gaussian', 'A'))).toBeLessThan(1.03 / 8);
    expect(deviation([...values(true, 'B'), ...values('gaussian', 'B')])).toBe(0);
  });
});
