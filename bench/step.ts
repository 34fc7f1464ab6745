import type { Example } from '../src/core/example';
import type { ModelConfig, WeightType } from '../src/core/model';
import { Random } from '../src/core/random';
import { makeMicroBatch } from '../src/core/batch';
import { mib, traitsOf, type Gpu } from '../src/runtime/device';
import { initialAdapter } from '../src/models/lora';
import { loraConfig, parseRecipe } from '../src/training/recipe';
import { Run } from '../src/training/run';
import type { TrainingJob } from '../src/training/job';
import { MemoryParts, Checkpoints } from '../src/storage/checkpoints';
import { syntheticModel } from './synthetic-model';

export interface StepShape {
  name: string;
  config: ModelConfig;
  type: WeightType;
  rows: number;
  tokens: number;
  rank: number;
}

export interface StepFigures {
  tokensPerSecond: number;
  milliseconds: number[];
  submits: number;
  dispatches: number;
  forecastBytes: number;
  allocatedBytes: number;
  recompute: boolean;
  /** Seconds by kernel name, in order of time. */
  kernels: [string, { seconds: number; flops: number; dispatches: number }][];
  matmulShare: number;
}

/** Times whole LoRA steps (forward, backward, clip, AdamW) of a shape on all seven projections. */
export async function benchStep(gpu: Gpu, shape: StepShape, rounds: number): Promise<StepFigures> {
  const model = syntheticModel(shape.config, shape.type);
  const examples = randomExamples(shape);
  const recipe = parseRecipe({
    model: model.name,
    dataset: { path: 'synthetic', shuffle: false, eval_fraction: 0 },
    lora: { r: shape.rank, lora_alpha: 2 * shape.rank },
    training: { per_device_train_batch_size: shape.rows, gradient_accumulation_steps: 1, packing: false, max_length: shape.tokens },
  });
  const job: TrainingJob = {
    recipe,
    model,
    train: examples,
    eval: [],
    original: null,
    initialAdapter: null,
    samples: [],
    decode: () => '',
    stopIds: new Set(),
    checkpoints: new Checkpoints(new MemoryParts()),
    resume: false,
  };
  const before = gpu.memory.allocated;
  const forecast = new Run(job, traitsOf(gpu)).forecast();
  const run = await Run.open(job, gpu, () => undefined);
  const allocatedBytes = gpu.memory.allocated - before;
  await run.session.uploadAdapter(initialAdapter(shape.config, loraConfig(recipe.lora!, shape.config), 1));
  const batch = makeMicroBatch(examples, shape.tokens);
  const milliseconds: number[] = [];
  await run.session.step([batch], 0, 1e-4);
  let counters = { ...gpu.counters };
  for (let round = 0; round < rounds; round++) {
    counters = { ...gpu.counters };
    const begun = performance.now();
    await run.session.step([batch], round + 1, 1e-4);
    milliseconds.push(performance.now() - begun);
  }
  const submits = gpu.counters.submits - counters.submits;
  const dispatches = gpu.counters.dispatches - counters.dispatches;
  const kernels = [...(await run.session.profile(batch))].sort((a, b) => b[1].seconds - a[1].seconds);
  const total = kernels.reduce((sum, [, { seconds }]) => sum + seconds, 0);
  const inMatmul = kernels.filter(([name]) => name.startsWith('matmul')).reduce((sum, [, { seconds }]) => sum + seconds, 0);
  const figures: StepFigures = {
    tokensPerSecond: (batch.ids.length * 1000) / median(milliseconds),
    milliseconds,
    submits,
    dispatches,
    forecastBytes: forecast.total,
    allocatedBytes,
    recompute: run.session.recompute,
    kernels,
    matmulShare: inMatmul / total,
  };
  run.destroy();
  return figures;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Prints one shape's figures. */
export function printStep(shape: StepShape, figures: StepFigures): void {
  const ms = median(figures.milliseconds);
  console.log(`\n${shape.name}: rank ${shape.rank}, seven projections, ${shape.rows} x ${shape.tokens} tokens, ${shape.type} base`);
  console.log(`  ${figures.tokensPerSecond.toFixed(1)} tokens/s, ${ms.toFixed(0)} ms a step (${figures.milliseconds.map((x) => x.toFixed(0)).join(', ')})`);
  console.log(`  ${figures.submits} submits, ${figures.dispatches} dispatches; layers ${figures.recompute ? 'run again in the backward pass' : 'kept'}`);
  console.log(`  memory: forecast ${mib(figures.forecastBytes)}, allocated ${mib(figures.allocatedBytes)}`);
  console.log(`  matmuls take ${(100 * figures.matmulShare).toFixed(1)}% of GPU time`);
  for (const [name, { seconds, flops, dispatches }] of figures.kernels.slice(0, 14)) {
    const rate = flops / seconds / 1e9;
    console.log(`    ${name.padEnd(28)} ${(1000 * seconds).toFixed(1).padStart(9)} ms ${String(dispatches).padStart(5)} dispatches ${rate.toFixed(1).padStart(7)} GFLOP/s`);
  }
}

function randomExamples({ rows, tokens, config }: StepShape): Example[] {
  const random = new Random(7);
  return Array.from({ length: rows }, (_, row) => {
    const input_ids = Int32Array.from({ length: tokens }, () => random.below(config.vocab_size));
    return { row: row + 1, input_ids, labels: input_ids.slice() };
  });
}
