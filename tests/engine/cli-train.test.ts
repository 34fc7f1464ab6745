import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAdapter } from '../../src/formats/adapter';
import { hone, scratch, startHone } from '../cli/command';
import { folderSources } from '../files';
import { golden, relativeL2, type Golden } from '../parity/golden';

const one = golden('stories260K');

/** The case as a person would have it: rows, a PEFT folder to start from, and a recipe that names them by relative paths. */
function writeCase({ case: data, folder, modelPath }: Golden, into: string): string {
  mkdirSync(join(into, 'init'), { recursive: true });
  const batches = data.steps.flatMap((step) => step.micro_batches);
  const rows = batches.flatMap(({ input_ids, labels }) => input_ids.map((ids, i) => JSON.stringify({ input_ids: ids, labels: labels[i] })));
  writeFileSync(join(into, 'rows.jsonl'), `${rows.join('\n')}\n`);
  copyFileSync(join(folder, 'lora_init.safetensors'), join(into, 'init/adapter_model.safetensors'));
  writeFileSync(join(into, 'init/adapter_config.json'), JSON.stringify({ peft_type: 'LORA', ...data.lora }));
  const { lora, optimizer, steps } = data;
  const { r, lora_alpha, target_modules } = lora;
  const recipe = {
    model: modelPath,
    dataset: { path: 'rows.jsonl', shuffle: false, eval_fraction: 0 },
    lora: { r, lora_alpha, lora_dropout: 0, target_modules, use_rslora: false, init_adapter: 'init' },
    training: {
      learning_rate: optimizer.lr,
      lr_scheduler_type: optimizer.schedule,
      warmup_steps: optimizer.warmup_steps,
      max_steps: optimizer.steps,
      per_device_train_batch_size: steps[0]!.micro_batches[0]!.input_ids.length,
      gradient_accumulation_steps: steps[0]!.micro_batches.length,
      weight_decay: optimizer.weight_decay,
      max_grad_norm: optimizer.max_grad_norm,
      seed: 1,
      packing: false,
      max_length: 64,
      save_steps: 5,
    },
  };
  writeFileSync(join(into, 'recipe.json'), JSON.stringify(recipe));
  return join(into, 'recipe.json');
}

const lines = (out: string): string[] => readFileSync(join(out, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
/** The numbers of a line that depend on the training alone, as they are written. */
const numbers = (line: string): string => JSON.stringify([/"loss":([^,}]+)/.exec(line)![1], /"grad_norm":([^,}]+)/.exec(line)![1]]);

describe.skipIf(!one)('hone train, from files alone (skipped without the reference data)', () => {
  const { folder, clear } = scratch();
  const out = join(folder, 'out');
  let recipe = '';
  beforeAll(async () => {
    recipe = writeCase(one!, folder);
    const { code, stderr } = await hone('train', recipe, '--out', out);
    expect(code, stderr).toBe(0);
  });
  afterAll(clear);

  it("gives PyTorch's losses, gradient norms and rates, a line a step", () => {
    const metrics = lines(out).map((line) => JSON.parse(line) as Record<string, number>);
    expect(metrics.map(({ step }) => step)).toEqual(one!.case.losses.map((_, i) => i + 1));
    metrics.forEach(({ loss, grad_norm, learning_rate, tokens }, i) => {
      // Ten times and more what PyTorch's own float32 strays from its float64.
      expect(Math.abs(loss! - one!.case.losses[i]!), `loss of step ${i + 1}`).toBeLessThan(3e-4);
      expect(Math.abs(grad_norm! / one!.case.grad_norms[i]! - 1), `norm of step ${i + 1}`).toBeLessThan(2e-3);
      expect(learning_rate).toBeCloseTo(one!.case.learning_rates[i]!, 12);
      const labels = one!.case.steps[i]!.micro_batches.flatMap((batch) => batch.labels);
      expect(tokens).toBe(labels.reduce((sum, row) => sum + row.slice(1).filter((label) => label !== -100).length, 0));
    });
  });

  it("writes the last step's adapter in PEFT's form", async () => {
    const adapter = await readAdapter(await folderSources(join(out, 'adapter')));
    const expected = one!.tensors('lora_final.safetensors');
    expect([...adapter.tensors.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [name, { data }] of expected) expect(relativeL2(adapter.tensors.get(name)!.data, data), name).toBeLessThan(1e-2);
  });

  it('writes the recipe with defaults and hashes', () => {
    const written = JSON.parse(readFileSync(join(out, 'recipe.json'), 'utf8')) as { model_sha256: string; dataset: { sha256: string }; training: object };
    expect(written.model_sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(written.dataset.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(written.training).toMatchObject({ adam_beta1: 0.9, adam_epsilon: 1e-8 });
  });

  it('refuses to train over a run that is there', async () => {
    const { code, stderr } = await hone('train', recipe, '--out', out);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^StorageError: .*already holds a run; add --resume/m);
  });

  it('goes on bit for bit after it was killed', async () => {
    const killed = join(folder, 'killed');
    const { child, done } = startHone(['train', recipe, '--out', killed]);
    const timer = setInterval(() => {
      // Past the second checkpoint and off the third, so that steps are lost and done again.
      if (existsSync(join(killed, 'metrics.jsonl')) && lines(killed).length >= 12) child.kill('SIGKILL');
    }, 5);
    await done;
    clearInterval(timer);
    const before = lines(killed).length;
    expect(before).toBeLessThan(one!.case.losses.length);
    const resumed = await hone('train', recipe, '--out', killed, '--resume');
    expect(resumed.code, resumed.stderr).toBe(0);
    expect(resumed.stdout).toMatch(/Going on after step (5|10|15|20|25)\./);
    expect(lines(killed).map(numbers)).toEqual(lines(out).map(numbers));
    const adapter = (run: string) => readFileSync(join(run, 'adapter/adapter_model.safetensors'));
    expect(adapter(killed).equals(adapter(out))).toBe(true);
  });

  it('saves and stops when it is interrupted, and goes on from there', async () => {
    const stopped = join(folder, 'stopped');
    const { child, done } = startHone(['train', recipe, '--out', stopped]);
    const timer = setInterval(() => {
      if (!existsSync(join(stopped, 'metrics.jsonl')) || lines(stopped).length < 7) return;
      clearInterval(timer);
      child.kill('SIGINT');
    }, 5);
    const { code, stdout } = await done;
    expect(code).toBe(0);
    const steps = lines(stopped).length;
    expect(stdout).toContain(`Stopped at step ${steps} of 30; go on with --resume.`);
    expect((await hone('inspect', stopped)).stdout).toContain(`stopped, step ${steps} of 30, saved at ${steps}`);
    const resumed = await hone('train', recipe, '--out', stopped, '--resume');
    expect(resumed.stdout).toContain(`Going on after step ${steps}.`);
    expect(lines(stopped).map(numbers)).toEqual(lines(out).map(numbers));
  });

  it('refuses to resume under another recipe, naming the setting', async () => {
    const other = join(folder, 'other.json');
    writeFileSync(other, readFileSync(recipe, 'utf8').replace('"seed":1', '"seed":2'));
    const { code, stderr } = await hone('train', other, '--out', out, '--resume');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^RecipeError: training\.seed is 2, and this run was started with 1/m);
  });
});
