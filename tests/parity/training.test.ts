import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeGpu } from '../gpu';
import { openDevice, traitsOf, type Gpu } from '../../src/runtime/device';
import { openModelPath } from '../../src/cli/files';
import type { ModelSource } from '../../src/core/model';
import { FrozenWeights } from '../../src/models/weights';
import { FrozenAdapters } from '../../src/models/frozen-adapters';
import { Inference } from '../../src/models/inference';
import { MemoryLedger } from '../../src/runtime/memory';
import { learningRate } from '../../src/training/schedule';
import { loraConfig } from '../../src/training/recipe';
import { TrainingSession } from '../../src/training/session';
import { adapterOf } from '../../src/training/trained';
import { golden, goldenAdapter, goldenBatches, goldenRecipe, relativeL2, type Golden } from './golden';

/**
 * The engine against PyTorch's own runs. The tolerances are the project's promise; float32 itself strays from
 * these float64 runs by about 1e-5 (each case says how far), so a wrong term cannot hide under them.
 */
const CASES = [
  { name: 'stories260K', logits: 1e-3, gradient: 1e-3, loss: 3e-4, steps: Infinity },
  { name: 'stories260K-packed', logits: 1e-3, gradient: 1e-3, loss: 3e-4, steps: Infinity },
  { name: 'tiny-llama', logits: 1e-3, gradient: 1e-3, loss: 3e-4, steps: Infinity },
  { name: 'tiny-qwen2', logits: 1e-3, gradient: 1e-3, loss: 3e-4, steps: Infinity },
  { name: 'tiny-qwen3', logits: 1e-3, gradient: 1e-3, loss: 3e-4, steps: Infinity },
  { name: 'tiny-gemma2', logits: 1e-3, gradient: 1e-3, loss: 3e-4, steps: Infinity },
  { name: 'tiny-gemma3', logits: 1e-3, gradient: 1e-3, loss: 3e-4, steps: Infinity },
  // The float32 PyTorch run itself is off by 1.6e-4 in gradients here: thirty layers of rounding.
  { name: 'SmolLM2-135M-Instruct', logits: 1e-3, gradient: 5e-3, loss: 3e-3, steps: Infinity },
  // Here float32 PyTorch is off by 6.7e-4 in gradients.
  { name: 'gemma-3-270m', logits: 1e-3, gradient: 5e-3, loss: 3e-3, steps: Infinity },
];

for (const { name, ...tolerance } of CASES) {
  const one = golden(name);
  describe.skipIf(!one)(`${name} agrees with PyTorch${one ? '' : ' (skipped: ../shared/goldens or its model is absent)'}`, () => {
    parity(one!, tolerance);
  });
}

function parity(one: Golden, tolerance: { logits: number; gradient: number; loss: number }): void {
  let gpu: Gpu;
  let source: ModelSource;
  let frozen: FrozenWeights;
  const memory = new MemoryLedger();

  beforeAll(async () => {
    gpu = await openDevice(await nodeGpu());
    source = await openModelPath(one.modelPath);
    frozen = new FrozenWeights(source, traitsOf(gpu).maxStorageBufferBindingSize, memory);
    memory.allocate(gpu);
    await frozen.upload(gpu);
  });
  afterAll(() => gpu.device.destroy());

  async function session(): Promise<TrainingSession> {
    const recipe = goldenRecipe(one.case);
    const sizes = one.case.steps.flatMap((step) => goldenBatches(step).map((batch) => batch.ids.length));
    const lengths = one.case.steps.flatMap((step) => step.micro_batches.map((batch) => batch.input_ids[0]!.length));
    const made = new TrainingSession(
      {
        config: source.config,
        frozen: frozen.weights,
        lora: loraConfig(recipe.lora!, source.config),
        training: recipe.training,
        maxTokens: Math.max(...sizes),
        maxPositions: Math.max(...lengths),
      },
      traitsOf(gpu),
    );
    await made.allocate(gpu);
    await made.uploadAdapter(goldenAdapter(one, recipe, source.config));
    return made;
  }

  it('gives the base model’s logits', async () => {
    const { input_ids, rows } = one.case.logits;
    const inference = new Inference(source.config, frozen.weights, new Map(), traitsOf(gpu), input_ids.length);
    await inference.allocate(gpu);
    const logits = await inference.allLogits(input_ids);
    const expected = [...one.tensors('logits.safetensors').values()][0]!;
    const vocabulary = source.config.vocab_size;
    const wanted = rows === 'all' ? logits : logits.slice(-1);
    expect(expected.data.length).toBe(wanted.length * vocabulary);
    let worst = 0;
    wanted.forEach((row, i) => row.forEach((value, j) => (worst = Math.max(worst, Math.abs(value - expected.data[i * vocabulary + j]!)))));
    expect(worst).toBeLessThan(tolerance.logits);
    inference.destroy();
  });

  it('gives every gradient of the first step', async () => {
    const made = await session();
    const grads = one.tensors('grads.safetensors');
    for (const [key, tensor] of grads) if (key.startsWith('at.')) made.parameters.upload(gpu, key.slice(3), tensor.data);
    const batches = goldenBatches(one.case.steps[0]!);
    const trained = batches.reduce((sum, batch) => sum + batch.trained, 0);
    await made.accumulate(batches, 0, 1 / trained);
    const found = await made.parameters.downloadGradients(gpu);
    let compared = 0;
    for (const [key, expected] of grads) {
      if (key.startsWith('at.')) continue;
      expect(relativeL2(found.get(key)!.data, expected.data), key).toBeLessThan(tolerance.gradient);
      compared++;
    }
    expect(compared).toBeGreaterThan(0);
    for (const [key, norm] of Object.entries(one.case.gradient_check.grad_norms)) {
      const mine = Math.sqrt(found.get(key)!.data.reduce((sum, x) => sum + x * x, 0));
      expect(Math.abs(mine - norm) / norm, `norm of ${key}`).toBeLessThan(tolerance.gradient);
    }
    made.destroy();
  });

  it('gives every loss and gradient norm of the run, and the final adapter', async () => {
    const made = await session();
    const recipe = goldenRecipe(one.case);
    const { steps } = one.case.optimizer;
    for (let step = 0; step < steps; step++) {
      const rate = learningRate(recipe.training, step, steps);
      expect(rate).toBeCloseTo(one.case.learning_rates[step]!, 12);
      const result = await made.step(goldenBatches(one.case.steps[step]!), step, rate);
      expect(Math.abs(result.loss - one.case.losses[step]!), `loss of step ${step}`).toBeLessThan(tolerance.loss);
      const norm = one.case.grad_norms[step]!;
      // SmolLM2's float32 rounding reaches its norms too; the others are held to 2e-3.
      expect(Math.abs(result.gradNorm - norm) / norm, `gradient norm of step ${step}`).toBeLessThan(Math.max(2e-3, tolerance.gradient));
    }
    const finalFile = join(one.folder, 'lora_final.safetensors');
    if (existsSync(finalFile) && statSync(finalFile).size > 0) {
      const trained = await made.parameters.download(gpu);
      for (const [key, expected] of one.tensors('lora_final.safetensors')) {
        expect(relativeL2(trained.get(key)!.data, expected.data), key).toBeLessThan(1e-2);
      }
    }
    await expectTrainedLogits(await made.parameters.download(gpu));
    made.destroy();
  });

  /** The trained adapter, loaded into a model that only answers, gives PyTorch's top logits. */
  async function expectTrainedLogits(trained: Map<string, { shape: readonly number[]; data: Float32Array }>): Promise<void> {
    const recipe = goldenRecipe(one.case);
    const adapter = new FrozenAdapters(source.config, [adapterOf(trained, loraConfig(recipe.lora!, source.config))]);
    await adapter.upload(gpu, frozen.weights);
    const { input_ids } = one.case.logits;
    const inference = new Inference(source.config, frozen.weights, adapter.pairs, traitsOf(gpu), input_ids.length);
    await inference.allocate(gpu);
    const logits = await inference.extend(input_ids);
    for (const [id, value] of one.case.trained_logits_top8) {
      // Logits after a whole run of updates: ten times the tolerance of the untrained ones.
      expect(Math.abs(logits[id]! - value), `logit of ${id}`).toBeLessThan(1e-2);
    }
    inference.destroy();
    adapter.destroy(gpu);
  }
}
