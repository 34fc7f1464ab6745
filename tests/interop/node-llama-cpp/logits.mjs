/**
 * Runs token ids through llama.cpp and writes every position's logits. A process of its own, because llama.cpp
 * ends the process at files it finds wrong.
 *
 * stdin: {"runs": [{"model": path, "lora": path or null, "ids": [...]}, ...], "out": path}
 * out: float32 little-endian, rows of V logits, run after run. stdout's last line: {"vocabularies": [V of each run]}
 * or {"model": path, "texts": [...], "parseSpecial": true or false}; stdout's last line: {"tokens": [[...], ...]}.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { getLlama } from 'node-llama-cpp';

const request = JSON.parse(readFileSync(0, 'utf8'));
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error', maxThreads: 2 });

/** Logits of every position of one run. */
async function evaluate({ model: modelPath, lora, ids }) {
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
  const context = await model.createContext({
    contextSize: Math.max(64, ids.length + 8),
    flashAttention: false,
    experimentalKvCacheKeyType: 'F32',
    experimentalKvCacheValueType: 'F32',
    ...(lora ? { lora: { adapters: [{ filePath: lora, scale: 1 }] } } : {}),
  });
  const next = { generateNext: { logits: true, token: true, options: { temperature: 0 } } };
  const out = await context.getSequence().controlledEvaluate(ids.map((id) => [id, next]));
  const rows = out.map((position) => {
    const row = new Float32Array(position.next.logits.size);
    for (const [token, logit] of position.next.logits) row[token] = logit;
    return row;
  });
  await context.dispose();
  await model.dispose();
  return rows;
}

if (request.texts) {
  const model = await llama.loadModel({ modelPath: request.model, gpuLayers: 0, vocabOnly: true });
  console.log(JSON.stringify({ tokens: request.texts.map((text) => model.tokenize(text, request.parseSpecial)) }));
} else {
  const pieces = [];
  const vocabularies = [];
  for (const run of request.runs) {
    console.error(`evaluating ${run.model}`);
    const rows = await evaluate(run);
    vocabularies.push(rows[0].length);
    for (const row of rows) pieces.push(new Uint8Array(row.buffer));
  }
  writeFileSync(request.out, Buffer.concat(pieces));
  console.log(JSON.stringify({ vocabularies }));
}
process.exit(0);
