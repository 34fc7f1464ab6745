import { Graph } from '../src/autograd/graph';
import { dequantize } from '../src/core/blocks';
import { WEIGHT_BLOCKS, type WeightType } from '../src/core/model';
import { Random } from '../src/core/random';
import { quantize } from '../src/gguf/quantize';
import { Arena } from '../src/runtime/arena';
import { createStorage, destroyBuffer, readBuffer, traitsOf, type Gpu } from '../src/runtime/device';
import { Pacer } from '../src/runtime/pacer';
import { Plan } from '../src/runtime/plan';
import { externalTensor, type Dispatch, type Tensor } from '../src/runtime/program';
import { linear } from '../src/shaders/linear/linear';
import { packRows } from '../src/shaders/linear/pack';
import type { FrozenWeight } from '../src/shaders/weight';
import { deviceLimits } from './limits';
import type { MatmulPeer } from './peers';

export type Product = 'forward' | 'backward';

/** One product as measured: medians of interleaved rounds in GFLOP/s, and how far ahead of the peer. */
export interface MatmulFigure {
  product: Product;
  /** Rows of x, of W, and columns of both. */
  shape: readonly [number, number, number];
  type: WeightType;
  gflops: number;
  peerGflops: number | null;
  ratio: number | null;
}

export interface MatmulFigures {
  figures: MatmulFigure[];
  limits: { name: string; unit: string; value: number }[];
}

/** The matrices of a SmolLM2-135M step of 256 tokens, and its head over 64 of them: rows, outputs, inputs. */
export const SMOLLM2_SHAPES: readonly (readonly [number, number, number])[] = [
  [256, 576, 576],
  [256, 192, 576],
  [256, 1536, 576],
  [256, 576, 1536],
  [64, 49152, 576],
];

/** Those that a shape's rows can be stored in are measured. */
const TYPES: readonly WeightType[] = ['F32', 'Q8_0', 'Q4_1', 'Q4_K', 'Q6_K'];
const PRODUCTS: readonly Product[] = ['forward', 'backward'];

/** Work of one timed run: long enough that a submit's own cost is small beside it. */
const FLOPS_PER_SAMPLE = 4e8;

/** Someone who makes one product a number of times. `run` returns when the device is done with them. */
interface Contestant {
  run: () => Promise<void>;
  /** The product's values, for checking. */
  read: () => Promise<Float32Array>;
  close: () => void;
}

/**
 * y = x·Wᵀ and dx = dy·W on the shapes, with each weight type, beside the peer's f32, one after the other in every round.
 * Throws where a result is wrong: a fast wrong kernel is worth nothing.
 */
export async function benchMatmul(
  gpu: Gpu,
  peer: MatmulPeer | null,
  options: { rounds: number; shapes?: typeof SMOLLM2_SHAPES; print: (line: string) => void },
): Promise<MatmulFigures> {
  const { limits, close } = await deviceLimits(gpu);
  const limitSamples = limits.map((): number[] => []);
  const figures: MatmulFigure[] = [];
  for (const shape of options.shapes ?? SMOLLM2_SHAPES) {
    for (const product of PRODUCTS) {
      const made = await benchProduct(gpu, peer, product, shape, options.rounds);
      for (const figure of made) options.print(line(figure, peer));
      figures.push(...made);
    }
    for (const [i, limit] of limits.entries()) limitSamples[i]!.push(await limit.sample());
  }
  close();
  const measured = limits.map(({ name, unit }, i) => ({ name, unit, value: median(limitSamples[i]!) }));
  for (const { name, unit, value } of measured) options.print(`${name.padEnd(44)}${value.toFixed(1).padStart(7)} ${unit}`);
  return { figures, limits: measured };
}

function line({ product, shape, type, gflops, peerGflops, ratio }: MatmulFigure, peer: MatmulPeer | null): string {
  const what = `${product.padEnd(9)}${shape.join(' x ').padEnd(18)}${type.padEnd(6)}`;
  const beside = peer && peerGflops && ratio ? `   ${peer.name} F32 ${peerGflops.toFixed(1).padStart(5)}   ${ratio.toFixed(2)} x` : '';
  return `${what}${gflops.toFixed(1).padStart(7)} GFLOP/s${beside}`;
}

async function benchProduct(
  gpu: Gpu,
  peer: MatmulPeer | null,
  product: Product,
  shape: readonly [number, number, number],
  rounds: number,
): Promise<MatmulFigure[]> {
  const [M, N, K] = shape;
  const flops = 2 * M * N * K;
  const times = Math.max(1, Math.round(FLOPS_PER_SAMPLE / flops));
  const random = new Random(1);
  const left = Float32Array.from({ length: M * (product === 'forward' ? K : N) }, () => random.uniform() - 0.5);
  const contestants: { name: WeightType | 'peer'; made: Contestant; samples: number[] }[] = [];
  const floats = Float32Array.from({ length: N * K }, () => random.uniform() - 0.5);
  const types = TYPES.filter((type) => K % WEIGHT_BLOCKS[type].length === 0);
  for (const type of types) {
    const bytes = quantize(type, floats);
    const values = dequantize(type, bytes);
    const made = await ours(gpu, product, shape, left, type, bytes, times);
    check(await made.read(), left, values, product, shape);
    contestants.push({ name: type, made, samples: [] });
  }
  if (peer) {
    const made = theirs(peer, product, shape, left, floats, times);
    check(await made.read(), left, floats, product, shape);
    contestants.push({ name: 'peer', made, samples: [] });
  }
  for (let round = 0; round < rounds; round++) {
    for (const { made, samples } of contestants) {
      const start = performance.now();
      await made.run();
      samples.push((flops * times) / (performance.now() - start) / 1e6);
    }
  }
  for (const { made } of contestants) made.close();
  const peerGflops = peer ? median(contestants.at(-1)!.samples) : null;
  return types.map((type, i) => {
    const gflops = median(contestants[i]!.samples);
    return { product, shape, type, gflops, peerGflops, ratio: peerGflops ? gflops / peerGflops : null };
  });
}

/** Our product, as a training step makes it: dispatches one after the other in a plan, submitted by the pacer. */
async function ours(
  gpu: Gpu,
  product: Product,
  [M, N, K]: readonly [number, number, number],
  left: Float32Array,
  type: WeightType,
  bytes: Uint8Array,
  times: number,
): Promise<Contestant> {
  const weight = uploadWeight(gpu, type, bytes, N, K);
  const x = floatTensor(gpu, 'x', M, K, product === 'forward' ? left : null);
  const dy = floatTensor(gpu, 'dy', M, N, product === 'backward' ? left : null);
  const g = new Graph(traitsOf(gpu));
  // Makes x one that gradients flow to, as the output of an adapted layer is.
  g.parameter(x, x);
  const start = g.tensor('start', [M, K]);
  g.record([x], [start], () => undefined);
  const y = linear(g, start, weight);
  g.seed(y, dy);
  g.backward();
  const [forward, backward] = g.dispatches as [Dispatch, Dispatch];
  const chosen = product === 'forward' ? forward : backward;
  const out = floatTensor(gpu, 'out', M, product === 'forward' ? N : K, null);
  const bound = (tensor: Tensor): Tensor => (tensor === start ? x : tensor);
  const bindings = chosen.bindings.map(({ tensor, access }) => ({ tensor: access === 'write' ? out : bound(tensor), access }));
  const dispatches = Array.from({ length: times }, () => ({ ...chosen, bindings }));
  const arena = new Arena();
  const plan = await Plan.record(gpu, dispatches, arena, arena.layout(dispatches));
  const pacer = new Pacer(gpu);
  const run = async (): Promise<void> => {
    await plan.run(pacer);
    await pacer.drain();
  };
  // The pacer learns the device's speed, as it does in a run's first steps.
  for (let warm = 0; warm < 3; warm++) await run();
  return {
    run,
    read: async () => new Float32Array(await readBuffer(gpu, out.range!.buffer, 0, out.range!.size)),
    close: () => {
      plan.destroy();
      for (const tensor of [x, dy, out, ...weight.shards.flatMap(({ parts }) => parts)]) destroyBuffer(gpu, tensor.range!.buffer);
    },
  };
}

function theirs(
  peer: MatmulPeer,
  product: Product,
  [M, N, K]: readonly [number, number, number],
  left: Float32Array,
  weight: Float32Array,
  times: number,
): Contestant {
  const a = peer.matrix(left, M, product === 'forward' ? K : N);
  const b = peer.matrix(weight, N, K);
  const multiply = product === 'forward' ? peer.nt : peer.nn;
  return {
    run: async () => {
      const results = Array.from({ length: times }, () => multiply(a, b));
      // All of them: what nobody waits for is not even computed.
      await Promise.all(results.map((result) => peer.done(result)));
      results.forEach((result) => peer.free(result));
    },
    read: async () => {
      const result = multiply(a, b);
      const values = await peer.read(result);
      peer.free(result);
      return values;
    },
    close: () => {
      peer.free(a);
      peer.free(b);
    },
  };
}

/** Some entries against float64. */
function check(
  got: Float32Array,
  left: Float32Array,
  weight: Float32Array,
  product: Product,
  [M, N, K]: readonly [number, number, number],
): void {
  const [inner, columns] = product === 'forward' ? [K, N] : [N, K];
  for (let sample = 0; sample < 64; sample++) {
    const row = (sample * 7919) % M;
    const column = (sample * 104729) % columns;
    let sum = 0;
    for (let i = 0; i < inner; i++) {
      sum += left[row * inner + i]! * weight[product === 'forward' ? column * K + i : i * K + column]!;
    }
    // Random signs: the sum grows, and its roundings grow, as the root of the count.
    if (!(Math.abs(got[row * columns + column]! - sum) < 1e-5 * Math.sqrt(inner))) {
      const found = got[row * columns + column];
      throw new Error(`${product} ${M} x ${N} x ${K}: row ${row}, column ${column} is ${found}, and float64 makes it ${sum}.`);
    }
  }
}

function uploadWeight(gpu: Gpu, type: WeightType, bytes: Uint8Array, rows: number, columns: number): FrozenWeight {
  const parts = packRows(type, bytes, columns).map((part) => {
    const buffer = createStorage(gpu, 'weight', part.byteLength);
    gpu.device.queue.writeBuffer(buffer, 0, part);
    return externalTensor('weight', [part.byteLength / 4], 'u32', { buffer, offset: 0, size: buffer.size });
  });
  return { name: 'weight', type, rows, columns, shards: [{ firstRow: 0, rows, parts }] };
}

function floatTensor(gpu: Gpu, name: string, rows: number, columns: number, values: Float32Array | null): Tensor {
  const buffer = createStorage(gpu, name, rows * columns * 4);
  if (values) gpu.device.queue.writeBuffer(buffer, 0, new Float32Array(values));
  return externalTensor(name, [rows, columns], 'f32', { buffer, offset: 0, size: rows * columns * 4 });
}

function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
