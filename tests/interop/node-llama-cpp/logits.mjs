/**
 * Runs token ids through llama.cpp and writes every position's logits. A process of its own, because llama.cpp
 * ends the process at files it finds wrong.
 *
 * stdin: {"model": path, "lora": path or null, "ids": [[…], …], "out": path} – one list of ids a run.
 * out: float32 little-endian, rows of V logits, in the order of the ids. stdout's last line: {"vocabulary": V}
 * With "texts" in place of "ids": stdout's last line is {"tokens": [[…], …]}, the texts' token ids, special tokens read as text.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { getLlama } from 'node-llama-cpp';

const request = JSON.parse(readFileSync(0, 'utf8'));
const llama = await getLlama({ gpu: false, build: 'never', skipDownload: true, logLevel: 'error', maxThreads: 2 });
const model = await llama.loadModel({ modelPath: request.model, gpuLayers: 0, vocabOnly: Boolean(request.texts) });

if (request.texts) {
  console.log(JSON.stringify({ tokens: request.texts.map((text) => model.tokenize(text, false)) }));
} else {
  const rows = [];
  let vocabulary = 0;
  for (const ids of request.ids) {
    const context = await model.createContext({
      contextSize: Math.max(64, ids.length + 8),
      flashAttention: false,
      experimentalKvCacheKeyType: 'F32',
      experimentalKvCacheValueType: 'F32',
      ...(request.lora ? { lora: { adapters: [{ filePath: request.lora, scale: 1 }] } } : {}),
    });
    const next = { generateNext: { logits: true, token: true, options: { temperature: 0 } } };
    const out = await context.getSequence().controlledEvaluate(ids.map((id) => [id, next]));
    for (const position of out) {
      const logits = position.next.logits;
      vocabulary = logits.size;
      const row = new Float32Array(vocabulary);
      for (const [token, logit] of logits) row[token] = logit;
      rows.push(row);
    }
    await context.dispose();
  }
  const all = new Float32Array(rows.length * vocabulary);
  rows.forEach((row, i) => all.set(row, i * vocabulary));
  writeFileSync(request.out, new Uint8Array(all.buffer));
  console.log(JSON.stringify({ vocabulary }));
}
process.exit(0);
