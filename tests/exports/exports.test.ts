import { createHash } from 'node:crypto';
import { unzipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { loraScale, peftName } from '../../src/core/adapter';
import { dequantize } from '../../src/core/blocks';
import { MemorySink, MemorySource } from '../../src/core/bytes';
import type { ModelSource, StoredTensor } from '../../src/core/model';
import { exportGgufAdapter } from '../../src/exports/gguf-adapter';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { writeFile } from '../../src/exports/hashing-sink';
import { prepareExport, type Choice, type Subject } from '../../src/exports/kinds';
import { peftFiles } from '../../src/exports/peft';
import { fileStem } from '../../src/exports/names';
import { planExport, type Plan } from '../../src/exports/plan';
import { writeZip } from '../../src/exports/zip';
import { readAdapter } from '../../src/formats/adapter';
import { interleavedRow } from '../../src/gguf/families';
import { openGguf } from '../../src/gguf/model';
import { quantize } from '../../src/gguf/quantize';
import { readGguf } from '../../src/gguf/reader';
import { TINY, randomAdapter, randomModel, writtenFiles } from '../fixtures';
import { largestDifference, referenceLogits } from '../reference/decoder';

const model = randomModel(TINY);
const adapter = randomAdapter(TINY, { r: 6 });
const card = { name: 'Pirate', baseModel: 'org/base', facts: [{ label: 'Data | set', value: 'pirates\nof the sea' }] };
const marks = { bosToken: '<s>', eosToken: '</s>', addsBos: true, stops: ['</s>'] };
const subject: Subject = { model, learned: { kind: 'adapter', adapter }, card, chatTemplate: null, marks, encode: null, tokenizerFiles: () => null };
const IDS = [1, 9, 20, 57, 94, 131, 8];

/** Runs an export into memory; checks its hash and length on the way. */
async function bytesOf(run: (sink: MemorySink, onBytes: (bytes: number) => void) => Promise<{ bytes: number; sha256: string }>): Promise<Uint8Array> {
  const sink = new MemorySink();
  let last = 0;
  const written = await run(sink, (done) => (last = done));
  const bytes = sink.bytes();
  expect(sink.closed).toBe(true);
  expect(written).toEqual({ bytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') });
  expect(last).toBe(bytes.byteLength);
  return bytes;
}

async function valuesOf(tensor: StoredTensor): Promise<Float32Array> {
  return dequantize(tensor.type, await tensor.readRows(0, tensor.shape.length === 1 ? 1 : tensor.shape[0]!));
}

describe('a merged model', () => {
  it.each(['F32', 'F16', 'BF16', 'Q8_0', 'Q5_1', 'Q4_0'] as const)('in %s has the weights W + s·B·A, of the size that was planned', async (type) => {
    const request = { model, name: card.name, type, adapter, chatTemplate: null };
    const bytes = await bytesOf((sink, onBytes) => exportMergedGguf(request, sink, onBytes));
    expect(bytes.byteLength).toBe((await planned({ kind: 'gguf', type })).bytes);
    const merged = await openGguf(new MemorySource(bytes));
    expect(merged.config).toEqual({ ...TINY, rope_factors: TINY.rope_factors!.map(Math.fround) });
    for (const path of ['model.layers.1.self_attn.q_proj', 'model.layers.2.mlp.down_proj']) {
      const base = model.tensors.get(`${path}.weight`)!;
      const [out, columns] = base.shape as [number, number];
      const expected = Float64Array.from(await valuesOf(base));
      const [a, b] = (['A', 'B'] as const).map((half) => adapter.tensors.get(peftName(path, half))!.data) as [Float32Array, Float32Array];
      for (let row = 0; row < out; row++) {
        for (let i = 0; i < columns; i++) {
          for (let k = 0; k < 6; k++) expected[row * columns + i]! += loraScale(adapter.config, path) * b[row * 6 + k]! * a[k * columns + i]!;
        }
      }
      const stored = merged.tensors.get(`${path}.weight`)!;
      expect(stored.type).toBe(type);
      // Not toEqual: printing the difference of thousands of bytes takes minutes.
      expect(Buffer.compare(quantize(type, Float32Array.from(expected)), await stored.readRows(0, out)), path).toBe(0);
    }
    const norm = merged.tensors.get('model.norm.weight')!;
    expect(norm.type).toBe('F32');
    expect(await valuesOf(norm)).toEqual(await valuesOf(model.tensors.get('model.norm.weight')!));
  });

  it('copies weights that nothing changes byte for byte, and gives the base back without an adapter', async () => {
    const first = await bytesOf((sink, onBytes) => exportMergedGguf({ model, name: 'base', type: 'Q4_1' }, sink, onBytes));
    const quantised = await openGguf(new MemorySource(first));
    const again = await bytesOf((sink, onBytes) => exportMergedGguf({ model: { ...quantised, config: model.config }, name: 'base', type: 'Q4_1' }, sink, onBytes));
    expect(Buffer.compare(first, again)).toBe(0);
  });

  it('takes F16 where rows do not fill the blocks', async () => {
    const odd = randomModel({ ...TINY, intermediate_size: 90 });
    const bytes = await bytesOf((sink, onBytes) => exportMergedGguf({ model: odd, name: 'odd', type: 'Q8_0' }, sink, onBytes));
    const merged = await openGguf(new MemorySource(bytes));
    expect(merged.tensors.get('model.layers.0.mlp.down_proj.weight')!.type).toBe('F16');
    expect(merged.tensors.get('model.layers.0.mlp.up_proj.weight')!.type).toBe('Q8_0');
  });

  it('writes weights that full-parameter training replaced', async () => {
    const name = 'model.layers.0.self_attn.k_proj.weight';
    const replaced = Float32Array.from({ length: 32 * 64 }, (_, i) => i / 1000);
    const norm = new Float32Array(64).fill(0.5);
    const weights = new Map([[name, replaced], ['model.norm.weight', norm]]);
    const bytes = await bytesOf((sink, onBytes) => exportMergedGguf({ model, name: 'full', type: 'F32', weights }, sink, onBytes));
    const merged = await openGguf(new MemorySource(bytes));
    expect(await valuesOf(merged.tensors.get(name)!)).toEqual(replaced);
    expect(await valuesOf(merged.tensors.get('model.norm.weight')!)).toEqual(norm);
  });

  it('keeps linear rope scaling', async () => {
    const linear = randomModel({ ...TINY, rope_factors: new Array<number>(8).fill(4) });
    const bytes = await bytesOf((sink, onBytes) => exportMergedGguf({ model: linear, name: 'linear', type: 'F32' }, sink, onBytes));
    expect((await openGguf(new MemorySource(bytes))).config.rope_factors).toEqual(new Array(8).fill(4));
  });

  it('carries the template that training used, whatever the model had', async () => {
    const bytes = await bytesOf((sink, onBytes) => exportMergedGguf({ model, name: 'chat', type: 'F32', chatTemplate: 'T {{ x }}' }, sink, onBytes));
    expect((await openGguf(new MemorySource(bytes))).chatTemplate).toBe('T {{ x }}');
  });

  it('is not written where a weight is not a number: the file is given up', async () => {
    const broken = randomAdapter(TINY);
    broken.tensors.get(peftName('model.layers.1.mlp.up_proj', 'B'))!.data[7] = NaN;
    const sink = new MemorySink();
    await expect(exportMergedGguf({ model, name: 'x', type: 'F16', adapter: broken }, sink)).rejects.toThrow(
      'model.layers.1.mlp.up_proj.weight has values that are not finite numbers',
    );
    expect([sink.closed, sink.bytes().length]).toEqual([false, 0]);
    await expect(exportGgufAdapter({ adapter: broken, config: TINY, name: 'x' }, sink)).rejects.toThrow('not finite');
    expect(() => peftFiles({ adapter: broken, card })).toThrow('not finite');
    expect(sink.closed).toBe(false);
  });

  it('differs from the base as the adapter does (the reference sees the same logits)', async () => {
    const bytes = await bytesOf((sink, onBytes) => exportMergedGguf({ model, name: 'merged', type: 'F32', adapter }, sink, onBytes));
    const merged = await referenceLogits(await openGguf(new MemorySource(bytes)), IDS);
    const apart = await referenceLogits(model, IDS, adapter);
    // Both in f64; the merged weights were rounded to f32 once.
    expect(largestDifference(merged, apart)).toBeLessThan(1e-4);
    expect(largestDifference(merged, await referenceLogits(model, IDS))).toBeGreaterThan(0.1);
  });
});

describe('a GGUF adapter', () => {
  it('holds A as it is, B with the rows of q and k in GGUF order, and alpha for a scale of alpha / r', async () => {
    const rslora = randomAdapter(TINY, { r: 6, use_rslora: true });
    const bytes = await bytesOf((sink, onBytes) => exportGgufAdapter({ adapter: rslora, config: TINY, name: card.name }, sink, onBytes));
    expect(bytes.byteLength).toBe((await planned({ kind: 'gguf-adapter' }, { learned: { kind: 'adapter', adapter: rslora } })).bytes);
    const { metadata, tensors } = await readGguf(new MemorySource(bytes));
    expect(metadata.get('adapter.lora.alpha')).toEqual({ type: 'F32', value: Math.fround(8 * Math.sqrt(6)) });
    const data = (name: string): Float32Array => {
      const { offset, bytes: length } = tensors.get(name)!;
      return dequantize('F32', bytes.subarray(offset, offset + length));
    };
    const path = 'model.layers.2.self_attn.k_proj';
    expect(tensors.get('blk.2.attn_k.weight.lora_a')!.dims).toEqual([64, 6]);
    expect(tensors.get('blk.2.attn_k.weight.lora_b')!.dims).toEqual([6, 32]);
    expect(data('blk.2.attn_k.weight.lora_a')).toEqual(rslora.tensors.get(peftName(path, 'A'))!.data);
    const b = rslora.tensors.get(peftName(path, 'B'))!.data;
    const written = data('blk.2.attn_k.weight.lora_b');
    for (let row = 0; row < 32; row++) expect(written.slice(interleavedRow(row, 16) * 6).slice(0, 6)).toEqual(b.slice(row * 6, row * 6 + 6));
    expect(data('blk.2.attn_v.weight.lora_b')).toEqual(rslora.tensors.get(peftName('model.layers.2.self_attn.v_proj', 'B'))!.data);
  });
});

describe('a PEFT export', () => {
  it('zipped is the three files, the same each time, of the size that was planned', async () => {
    const files = await writtenFiles(peftFiles({ adapter, card }));
    const hash = async (source: MemorySource): Promise<string> => createHash('sha256').update(await source.read(0, source.size)).digest('hex');
    const entries = await Promise.all(files.map(async (source) => ({ name: source.name, source, sha256: await hash(source) })));
    const zipped = (): Promise<Uint8Array> => bytesOf((sink, onBytes) => writeFile(sink, (out) => writeZip(entries, out), onBytes));
    const bytes = await zipped();
    expect(bytes.byteLength).toBe((await planned({ kind: 'peft' })).bytes);
    expect(Buffer.compare(bytes, await zipped())).toBe(0);
    const unpacked = unzipSync(bytes);
    expect(Object.keys(unpacked)).toEqual(['adapter_model.safetensors', 'adapter_config.json', 'README.md']);
    const read = await readAdapter(Object.entries(unpacked).map(([name, content]) => new MemorySource(content, name)), TINY);
    expect(read.config).toEqual(adapter.config);
    for (const [name, tensor] of adapter.tensors) expect(read.tensors.get(name), name).toEqual(tensor);
    const readme = new TextDecoder().decode(unpacked['README.md']);
    expect(readme).toContain('base_model: "org/base"');
    expect(readme).toContain('| Data \\| set | pirates of the sea |');
  });

  it('is not zipped where a file is no longer what was checked', async () => {
    const source = new MemorySource(Uint8Array.of(1, 2, 3), 'a');
    await expect(writeZip([{ name: 'a', source, sha256: 'other' }], new MemorySink())).rejects.toThrow('a changed while it was packed');
  });
});

async function planned(choice: Pick<Choice, 'kind' | 'type'>, changes: Partial<Subject> = {}): Promise<Plan> {
  const [whole, chosen] = [{ ...subject, ...changes }, { ...choice, stem: fileStem('My Pirate!') }];
  return planExport(whole, chosen, await prepareExport(whole, chosen));
}

describe('plans', () => {
  it('name files that shells take, and the commands to run next', async () => {
    expect(await planned({ kind: 'gguf-adapter' })).toMatchObject({
      fileName: 'My-Pirate-lora.gguf',
      base: { file: 'random-llama.gguf' },
      companions: [{ fileName: 'My-Pirate.Modelfile', text: 'FROM ./random-llama.gguf\nADAPTER ./My-Pirate-lora.gguf\n' }],
      commands: [
        { command: 'llama-cli -m random-llama.gguf --lora My-Pirate-lora.gguf -cnv' },
        { command: 'llama-server -m random-llama.gguf --lora My-Pirate-lora.gguf' },
        { command: 'ollama create my-pirate -f My-Pirate.Modelfile' },
        { command: 'ollama run my-pirate' },
      ],
    });
    const plan = await planned({ kind: 'gguf', type: 'Q8_0' });
    expect(plan.fileName).toBe('My-Pirate-Q8_0.gguf');
    expect(plan.base).toBeNull();
    expect(plan.commands[0]!.command).toBe('llama-cli -m My-Pirate-Q8_0.gguf -cnv');
    expect((await planned({ kind: 'peft' })).fileName).toBe('My-Pirate-peft.zip');
    expect((await planned({ kind: 'mlx' })).fileName).toBe('My-Pirate-mlx.zip');
  });

  it('make a file name of anything a person types', () => {
    expect(['../../etc', 'Été  2026', '💃', '', 'a'.repeat(300)].map(fileStem)).toEqual(['etc', 'Ete-2026', 'hone', 'hone', 'a'.repeat(100)]);
  });
});

describe('reading a model back', () => {
  it('keeps every weight of a base that is written in its own type', async () => {
    const bytes = await bytesOf((sink, onBytes) => exportMergedGguf({ model, name: 'same', type: 'F32' }, sink, onBytes));
    const same: ModelSource = await openGguf(new MemorySource(bytes));
    for (const [name, tensor] of model.tensors) expect(await valuesOf(same.tensors.get(name)!), name).toEqual(await valuesOf(tensor));
  });
});
