/**
 * `npm run demo`: the studio's demo without a page. Trains the demo model on the demo data in Node, prints the curve
 * and the answers before and after, and writes the exports to build/demo-run. Node's built-ins only until `npm ci` has run.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { installPackages, requireNode, root, run } from './install.mjs';

const demo = join(root, 'public/demo');
const out = join(root, 'build/demo-run');
const training = join(out, 'run');

const RECIPE = {
  model: demo,
  dataset: { path: join(demo, 'dataset.jsonl'), eval_fraction: 0.05 },
  lora: { r: 8, lora_alpha: 16 },
  training: {
    learning_rate: 2e-3,
    max_steps: 60,
    max_length: 128,
    per_device_train_batch_size: 1,
    gradient_accumulation_steps: 1,
    eval_steps: 20,
    save_steps: 20,
    seed: 42,
  },
  sample_prompts: ['What colour is the bear?'],
};

const TYPES = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0'];
const EXPORTS = [
  ['peft', 'adapter.zip'],
  ['gguf-adapter', 'adapter.gguf'],
  ...TYPES.map((type) => ['gguf', `model-${type.toLowerCase()}.gguf`, '--type', type]),
];

/** Runs a command of the CLI; ends with its exit code where it fails, for it has said why. */
async function hone(...args) {
  const code = await run(process.execPath, [join(root, 'bin/hone.mjs'), ...args], { shell: false });
  if (code !== 0) process.exit(code);
}

/** Losses as a chart of text: a column a step (or several), the mean of each column as a star. */
function curve(losses, width = 60, height = 12) {
  const columns = Math.min(width, losses.length);
  const means = Array.from({ length: columns }, (_, column) => {
    const part = losses.slice(Math.floor((column * losses.length) / columns), Math.floor(((column + 1) * losses.length) / columns));
    return part.reduce((sum, loss) => sum + loss, 0) / part.length;
  });
  const top = Math.max(...means);
  const bottom = Math.min(...means);
  const level = (loss) => Math.round(((top - loss) / (top - bottom || 1)) * (height - 1));
  const lines = Array.from({ length: height }, (_, row) => {
    const label = (top - ((top - bottom) * row) / (height - 1)).toFixed(2).padStart(6);
    return `${label} │${means.map((loss) => (level(loss) === row ? '*' : ' ')).join('')}`;
  });
  return [...lines, `       └${'─'.repeat(columns)}`, `        loss over ${losses.length} steps`].join('\n');
}

requireNode();
await installPackages();
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const recipe = join(out, 'recipe.json');
writeFileSync(recipe, `${JSON.stringify(RECIPE, null, 2)}\n`);

await hone('train', recipe, '--out', training);
const lines = readFileSync(join(training, 'metrics.jsonl'), 'utf8').trim().split('\n');
const losses = lines.map((line) => JSON.parse(line).loss).filter((loss) => typeof loss === 'number');
console.log(`\n${curve(losses)}`);

const question = ['--prompt', RECIPE.sample_prompts[0], '--max-tokens', '40', '--temperature', '0'];
console.log(`\n${RECIPE.sample_prompts[0]}\n\nBefore:`);
await hone('generate', '--model', demo, ...question);
console.log('\nAfter:');
await hone('generate', '--model', demo, '--adapter', join(training, 'adapter'), ...question);

console.log('\nExports:');
for (const [kind, file, ...options] of EXPORTS) await hone('export', training, '--to', kind, ...options, '--out', join(out, file));
console.log(`\nEverything is in ${relative(process.cwd(), out) || '.'}.`);
