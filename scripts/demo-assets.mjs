#!/usr/bin/env node
/**
 * Makes public/demo: the data set, the tokenizer and the model of the studio's demo, all from scripts/demo-world.mjs.
 *
 *   node scripts/demo-assets.mjs prepare   writes the data set, the tokenizer, first weights and two recipes (build/demo)
 *   node bin/hone.mjs train build/demo/world.json --out build/demo/world
 *   node bin/hone.mjs train build/demo/captain.json --out build/demo/captain
 *   node scripts/demo-assets.mjs finish    copies the trained weights to public/demo as float16
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { trainTokenizer, TOKENIZER_CONFIG } from './demo-tokenizer.mjs';
import { captainRows, Chance, finetuningRows, pretrainingRows } from './demo-world.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const build = join(root, 'build/demo');
const demo = join(root, 'public/demo');

const SEEDS = { pretraining: 1, finetuning: 2, weights: 3, training: 4, captain: 5 };
const PRETRAINING_ROWS = 12_000;
const CAPTAIN_ROWS = 4_000;
const FINETUNING_ROWS = 300;
const LARGEST_VOCABULARY = 1024;

const SHAPE = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: 96,
  intermediate_size: 224,
  num_hidden_layers: 3,
  num_attention_heads: 6,
  num_key_value_heads: 2,
  head_dim: 16,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 0,
  eos_token_id: 2,
  pad_token_id: 0,
};

/** First the world, then how the captain talks about it. Every weight is trained, on whole rows. */
const RUNS = {
  world: { model: 'model', training: { learning_rate: 2e-3, warmup_steps: 50, max_steps: 1600, eval_steps: 200, save_steps: 200 } },
  captain: { model: 'world/model', training: { learning_rate: 1e-3, warmup_steps: 10, max_steps: 160, eval_steps: 40, save_steps: 40 } },
};

function recipe(name) {
  const { model, training } = RUNS[name];
  return {
    model: join(build, model),
    dataset: { path: join(build, `${name}.jsonl`), format: 'text', eval_fraction: 0.01, train_on: 'all' },
    lora: null,
    training: {
      ...training,
      lr_scheduler_type: 'cosine',
      per_device_train_batch_size: 8,
      gradient_accumulation_steps: 1,
      weight_decay: 0.05,
      adam_beta2: 0.95,
      max_grad_norm: 1,
      max_length: 160,
      packing: true,
      seed: SEEDS.training,
    },
    sample_prompts: ['Where does the fox live?', 'What is two plus three?', 'Tell me a story about a whale.'],
  };
}

/** Names and shapes of the weights in Hugging Face's layout. */
function weightShapes(vocabulary) {
  const { hidden_size: hidden, intermediate_size: inner, head_dim: head } = SHAPE;
  const query = SHAPE.num_attention_heads * head;
  const key = SHAPE.num_key_value_heads * head;
  const shapes = [['model.embed_tokens.weight', [vocabulary, hidden]]];
  for (let layer = 0; layer < SHAPE.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`;
    shapes.push(
      [`${at}.input_layernorm.weight`, [hidden]],
      [`${at}.self_attn.q_proj.weight`, [query, hidden]],
      [`${at}.self_attn.k_proj.weight`, [key, hidden]],
      [`${at}.self_attn.v_proj.weight`, [key, hidden]],
      [`${at}.self_attn.o_proj.weight`, [hidden, query]],
      [`${at}.post_attention_layernorm.weight`, [hidden]],
      [`${at}.mlp.gate_proj.weight`, [inner, hidden]],
      [`${at}.mlp.up_proj.weight`, [inner, hidden]],
      [`${at}.mlp.down_proj.weight`, [hidden, inner]],
    );
  }
  return [...shapes, ['model.norm.weight', [hidden]]];
}

/**
 * GPT-2's first weights: normal with deviation 0.02, those that add to the residual stream smaller by the square root
 * of their number; norms 1.
 */
function firstWeights(vocabulary) {
  const chance = new Chance(SEEDS.weights);
  const normal = () => Math.sqrt(-2 * Math.log(1 - chance.next())) * Math.cos(2 * Math.PI * chance.next());
  return weightShapes(vocabulary).map(([name, shape]) => {
    const length = shape.reduce((product, n) => product * n, 1);
    if (shape.length === 1) return { name, shape, data: new Float32Array(length).fill(1) };
    const scale = /o_proj|down_proj/.test(name) ? 0.02 / Math.sqrt(2 * SHAPE.num_hidden_layers) : 0.02;
    return { name, shape, data: Float32Array.from({ length }, () => scale * normal()) };
  });
}

/** A safetensors file: length of the header, the header as JSON, the tensors one after another. */
function safetensors(dtype, tensors) {
  const header = { __metadata__: { format: 'pt' } };
  let at = 0;
  for (const { name, shape, data } of tensors) {
    header[name] = { dtype, shape, data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...tensors.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength))]);
}

function readSafetensors(path) {
  const file = readFileSync(path);
  const headerLength = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerLength));
  return Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, { dtype, shape, data_offsets: [begin, end] }]) => {
      if (dtype !== 'F32') throw new Error(`${path}: ${name} is ${dtype}; F32 was expected, as a run writes it.`);
      const bytes = file.subarray(8 + headerLength + begin, 8 + headerLength + end);
      return { name, shape, data: new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)) };
    });
}

/** The float16 nearest to a value, ties to even: doubles above 2^-14 have room for a plain rounding of the significand. */
function float16(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) throw new Error(`${value} does not fit float16`);
  let exponent = size === 0 ? -14 : Math.max(-14, Math.floor(Math.log2(size)));
  if (exponent > -14 && 2 ** exponent > size) exponent--;
  const steps = size / 2 ** (exponent - 10);
  const floor = Math.floor(steps);
  const half = steps - floor;
  const rounded = floor + (half > 0.5 || (half === 0.5 && floor % 2 === 1) ? 1 : 0);
  // Subnormals have no hidden bit; a carry into the next exponent is the right number by itself.
  return sign | (((exponent + 14) << 10) + rounded);
}

function writeJson(path, value, indent = 2) {
  writeFileSync(path, `${JSON.stringify(value, null, indent)}\n`);
}

function prepare() {
  mkdirSync(join(build, 'model'), { recursive: true });
  mkdirSync(demo, { recursive: true });
  const pretraining = pretrainingRows(SEEDS.pretraining, PRETRAINING_ROWS);
  const finetuning = finetuningRows(SEEDS.finetuning, FINETUNING_ROWS);
  const tokenizer = trainTokenizer([...pretraining, ...finetuning.flatMap((row) => row.messages.map((message) => message.content))], LARGEST_VOCABULARY);
  const vocabulary = Object.keys(tokenizer.model.vocab).length;
  const lines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  writeFileSync(join(build, 'world.jsonl'), lines(pretraining.map((text) => ({ text }))));
  writeFileSync(join(build, 'captain.jsonl'), lines(captainRows(SEEDS.captain, CAPTAIN_ROWS).map((text) => ({ text }))));
  writeFileSync(join(demo, 'dataset.jsonl'), lines(finetuning));
  for (const folder of [join(build, 'model'), demo]) {
    writeJson(join(folder, 'config.json'), { ...SHAPE, vocab_size: vocabulary, torch_dtype: folder === demo ? 'float16' : 'float32' });
    writeJson(join(folder, 'tokenizer.json'), tokenizer, 1);
    writeJson(join(folder, 'tokenizer_config.json'), TOKENIZER_CONFIG);
  }
  writeFileSync(join(build, 'model/model.safetensors'), safetensors('F32', firstWeights(vocabulary)));
  for (const name of Object.keys(RUNS)) writeJson(join(build, `${name}.json`), recipe(name));
  console.log(`${vocabulary} tokens, ${pretraining.length} rows to learn the world from, ${finetuning.length} rows of the captain's answers`);
}

/** The weights that a full-parameter run writes, as float16. */
function finish() {
  const trained = readSafetensors(join(build, 'captain/model/model.safetensors'));
  const half = trained.map(({ name, shape, data }) => ({ name, shape, data: Uint16Array.from(data, float16) }));
  const file = safetensors('F16', half);
  writeFileSync(join(demo, 'model.safetensors'), file);
  const parameters = trained.reduce((sum, { data }) => sum + data.length, 0);
  console.log(`public/demo/model.safetensors: ${parameters} parameters, ${file.length} bytes`);
}

const steps = { prepare, finish };
const step = steps[process.argv[2]];
if (!step) throw new Error(`Say which part to do: ${Object.keys(steps).join(' or ')}.`);
step();
