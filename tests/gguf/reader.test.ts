import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemorySink, MemorySource } from '../../src/core/bytes';
import { HoneError } from '../../src/core/errors';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { openGguf, openGgufVocabulary } from '../../src/gguf/model';
import { readGguf } from '../../src/gguf/reader';
import type { GgufMetadata, TensorPlan } from '../../src/gguf/writer';
import { GgufWriter, f32, ggufHeader, ggufSize, numbers, text, texts, u32 } from '../../src/gguf/writer';
import { TINY, randomModel } from '../fixtures';

const source = (bytes: Uint8Array): MemorySource => new MemorySource(bytes, 'model.gguf');

/** A whole small model file. */
async function modelFile(): Promise<Uint8Array> {
  const sink = new MemorySink();
  await exportMergedGguf({ model: randomModel(TINY), name: 'tiny', type: 'F32' }, sink);
  return sink.bytes();
}

/** A file of metadata and tensors whose data are zero. */
function file(metadata: GgufMetadata, tensors: TensorPlan[] = []): Uint8Array {
  const header = ggufHeader(metadata, tensors);
  const all = new Uint8Array(ggufSize(metadata, tensors));
  all.set(header);
  return all;
}

/** Replaces the first occurrence of a text in a file's bytes by one of the same length. */
function replace(bytes: Uint8Array, from: string, to: string): Uint8Array {
  const copy = Buffer.from(bytes);
  const at = copy.indexOf(from);
  if (at < 0 || from.length !== to.length) throw new Error(`cannot replace ${from}`);
  copy.write(to, at);
  return new Uint8Array(copy);
}

/** Puts a little-endian u64 at a place. */
function withU64(bytes: Uint8Array, at: number, value: bigint): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setBigUint64(at, value, true);
  return copy;
}

/** The file with another shape and type (ggml's id) of blk.1.attn_v.weight in its directory. */
function withValueWeight(bytes: Uint8Array, columns: bigint, rows: bigint, type: number): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const at = Buffer.from(bytes).indexOf('blk.1.attn_v.weight') + 'blk.1.attn_v.weight'.length;
  view.setBigUint64(at + 4, columns, true);
  view.setBigUint64(at + 12, rows, true);
  view.setUint32(at + 20, type, true);
  return copy;
}

describe('what the writer wrote', () => {
  it('is read back value by value and tensor by tensor', async () => {
    const metadata: GgufMetadata = new Map([
      ['general.name', text('größer ▁ \ufeff')],
      ['a.number', u32(4294967295)],
      ['a.float', f32(0.5)],
      ['a.list', texts(['', 'Ġthe', '\ufeff'])],
      ['a.numbers', numbers('I32', [-1, 0, 7])],
      ['a.large', { type: 'U64', value: 2 ** 53 - 1 }],
      ['a.larger', { type: 'I64', value: -(2n ** 60n) }],
    ]);
    const tensors: TensorPlan[] = [
      { name: 'first', dims: [3], type: 'F16' },
      { name: 'second', dims: [64, 2], type: 'Q4_0' },
    ];
    const sink = new MemorySink();
    const writer = await GgufWriter.start(sink, metadata, tensors);
    await writer.append(Uint8Array.of(1, 2));
    expect(() => writer.finish()).toThrow('first are missing');
    await writer.append(Uint8Array.of(3, 4, 5, 6));
    await writer.append(new Uint8Array(72).fill(9));
    writer.finish();
    await expect(writer.append(Uint8Array.of(1))).rejects.toThrow('no tensor');
    const bytes = sink.bytes();
    expect(bytes.byteLength).toBe(ggufSize(metadata, tensors));
    const header = await readGguf(source(bytes));
    expect(header.metadata).toEqual(metadata);
    const [first, second] = [header.tensors.get('first')!, header.tensors.get('second')!];
    expect(bytes.slice(first.offset, first.offset + first.bytes)).toEqual(Uint8Array.of(1, 2, 3, 4, 5, 6));
    expect(second).toMatchObject({ type: 'Q4_0', dims: [64, 2], bytes: 72, offset: header.dataOffset + 32 });
    expect(new Set(bytes.slice(second.offset, second.offset + 72))).toEqual(new Set([9]));
  });

  it('places tensors beyond 4 GiB without wrapping', () => {
    const large: TensorPlan = { name: 'large', dims: [2 ** 16, 2 ** 15 + 1], type: 'F32' };
    const header = ggufHeader(new Map(), [large, { name: 'next', dims: [1], type: 'F32' }]);
    const offsets = new DataView(header.buffer, header.byteOffset);
    const at = Buffer.from(header).indexOf('next') + 4 + 4 + 8 + 4;
    expect(offsets.getBigUint64(at, true)).toBe(2n ** 18n * (2n ** 15n + 1n));
  });

  it('refuses values of the wrong type', () => {
    expect(() => ggufHeader(new Map([['a.key', u32(-1)]]), [])).toThrow('a.key is -1, which is no U32');
    expect(() => ggufHeader(new Map([['a.key', u32(0.5)]]), [])).toThrow('no U32');
    expect(() => ggufHeader(new Map(), [{ name: 'x'.repeat(64), dims: [1], type: 'F32' }])).toThrow('64 characters');
    expect(() => ggufHeader(new Map(), [{ name: 'x', dims: [33], type: 'Q8_0' }])).toThrow('blocks of Q8_0');
  });
});

describe('a damaged file is refused in one sentence', () => {
  const cases: [string, () => Promise<Uint8Array>, RegExp][] = [
    ['empty', () => Promise.resolve(new Uint8Array(0)), /has 0 bytes, fewer than a GGUF header/],
    ['of another format', () => Promise.resolve(new TextEncoder().encode('PK\u0003\u0004 and so on and so forth')), /starts with 50 4b 03 04 instead of "GGUF"/],
    ['big-endian', async () => withU64(await modelFile(), 0, 0x03000000_46554747n), /big-endian/],
    ['of version 1', async () => withU64(await modelFile(), 0, 0x00000001_46554747n), /GGUF version 1, and Hone reads versions 2 and 3/],
    ['with 2^60 tensors', async () => withU64(await modelFile(), 8, 2n ** 60n), /announces 1152921504606847000 tensors, more than a file of/],
    ['with 2^40 metadata entries', async () => withU64(await modelFile(), 16, 2n ** 40n), /metadata entries, more than a file of/],
    ['with a key longer than itself', async () => withU64(await modelFile(), 24, 2n ** 62n), /ends at byte \d+ inside the key of metadata entry 1/],
    ['cut inside the metadata', async () => (await modelFile()).slice(0, 2200), /the file ends at byte 2200 inside/],
    ['cut inside the weights', async () => (await modelFile()).slice(0, -64), /tensor (output|\S+)\.weight ends at byte \d+, and the file has \d+/],
  ];
  it.each(cases)('%s', async (_, make, sentence) => {
    const error: unknown = await openGguf(source(await make())).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HoneError);
    expect((error as HoneError).name).toBe('GgufError');
    expect((error as HoneError).message).toMatch(sentence);
    expect((error as HoneError).message).toMatch(/^model\.gguf: /);
  });

  it('with a key or a tensor listed twice', async () => {
    const twice = file(new Map([['a.one', u32(1)], ['a.two', u32(2)]]));
    await expect(readGguf(source(replace(twice, 'a.two', 'a.one')))).rejects.toThrow('hold a.one twice');
    const tensors: TensorPlan[] = [{ name: 'w1', dims: [8], type: 'F32' }, { name: 'w2', dims: [8], type: 'F32' }];
    await expect(readGguf(source(replace(file(new Map(), tensors), 'w2', 'w1')))).rejects.toThrow('tensor w1 is listed twice');
  });

  it('with a bad alignment, offset, type or shape', async () => {
    await expect(readGguf(source(file(new Map([['general.alignment', u32(12)]]))))).rejects.toThrow('general.alignment is 12');
    const plain = file(new Map(), [{ name: 'weight', dims: [32], type: 'F32' }]);
    const info = Buffer.from(plain).indexOf('weight') + 6;
    await expect(readGguf(source(withU64(plain, info + 16, 8n)))).rejects.toThrow('starts at 8, which is no multiple of the alignment 32');
    await expect(readGguf(source(withU64(plain, info + 12, 77n)))).rejects.toThrow('tensor weight has type 77');
    await expect(readGguf(source(withU64(plain, info + 4, 2n ** 60n)))).rejects.toThrow('no model can have');
    await expect(readGguf(source(withU64(plain, info, 9n)))).rejects.toThrow('has 9 dimensions');
  });
});

describe('a whole file that is no model for Hone is refused in one sentence', () => {
  it('with a tensor in a type that Hone does not compute with', async () => {
    // Rows of 256 fill a Q2_K or IQ4_XS block: 64 × 32 becomes 256 × 8.
    for (const [name, id] of [['Q2_K', 10], ['Q3_K', 11], ['IQ4_XS', 23]] as const) {
      await expect(openGguf(source(withValueWeight(await modelFile(), 256n, 8n, id)))).rejects.toThrow(
        `model.gguf: tensor blk.1.attn_v.weight has type ${name} (${id}), and Hone reads F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, ` +
          'Q4_K, Q5_K, Q6_K; re-export the model as Q4_K_M or Q8_0.',
      );
    }
  });

  it('with rows that do not fill blocks', async () => {
    await expect(openGguf(source(withValueWeight(await modelFile(), 64n, 32n, 12)))).rejects.toThrow(
      'model.gguf: tensor blk.1.attn_v.weight has rows of 64 weights, and Q4_K packs 256 to a block; the file is damaged, convert the model anew.',
    );
  });

  it('with a missing, a superfluous, or a misshapen weight', async () => {
    const bytes = await modelFile();
    await expect(openGguf(source(replace(bytes, 'blk.2.ffn_up.weight', 'blk.2.ffn_xy.weight')))).rejects.toThrow('blk.2.ffn_xy.weight has no place');
    const at = Buffer.from(bytes).indexOf('blk.2.ffn_up.weight') + 'blk.2.ffn_up.weight'.length;
    await expect(openGguf(source(withU64(bytes, at + 12, 95n)))).rejects.toThrow('model.layers.2.mlp.up_proj.weight has the shape 95 × 64, and the model');
    const three = Buffer.from(bytes).indexOf('llama.block_count') + 'llama.block_count'.length + 4;
    const four = bytes.slice();
    four[three] = 4;
    await expect(openGguf(source(four))).rejects.toThrow('model.layers.3.input_layernorm.weight is missing');
  });

  it('with a vocabulary and an embedding that disagree', async () => {
    const model = randomModel(TINY);
    if (model.tokenizer?.kind !== 'gguf') throw new Error('no tokenizer');
    model.tokenizer.keys.tokens.pop();
    const sink = new MemorySink();
    await exportMergedGguf({ model, name: 'tiny', type: 'F32' }, sink);
    await expect(openGguf(source(sink.bytes()))).rejects.toThrow('the vocabulary has 159 tokens and the embedding 160 rows');
  });

  it('with a missing key, another architecture, several parts, or only an adapter', async () => {
    const bytes = await modelFile();
    await expect(openGguf(source(replace(bytes, 'llama.feed_forward_length', 'llama.feed_forward_lengtx')))).rejects.toThrow('lack llama.feed_forward_length');
    const open = (metadata: GgufMetadata): Promise<unknown> => openGguf(source(file(metadata)));
    await expect(open(new Map([['general.architecture', text('mamba')]]))).rejects.toThrow('the architecture is mamba, and Hone trains llama');
    await expect(open(new Map([['general.architecture', text('llama')], ['split.count', { type: 'U16', value: 3 }]]))).rejects.toThrow('one of 3 parts');
    await expect(open(new Map([['general.type', text('adapter')]]))).rejects.toThrow('holds a GGUF adapter, not a model');
    await expect(openGgufVocabulary(source(file(new Map())))).rejects.toThrow('has no tokenizer');
  });
});

describe('any bytes', () => {
  const tryAll = async (bytes: Uint8Array): Promise<void> => {
    for (const open of [openGguf, openGgufVocabulary]) {
      const before = process.memoryUsage().heapTotal;
      try {
        await open(source(bytes));
      } catch (error) {
        if (!(error instanceof HoneError)) throw error;
      }
      expect(process.memoryUsage().heapTotal - before).toBeLessThan(200e6);
    }
  };

  it('give an error of their own or a model, never a hang or a crash: random', async () => {
    const magic = Uint8Array.of(0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (bytes, prefixed) => {
        await tryAll(prefixed ? Uint8Array.from([...magic, ...bytes]) : bytes);
      }),
      { numRuns: 500 },
    );
  });

  it('give an error of their own or a model, never a hang or a crash: a real file, mutated', async () => {
    const whole = await modelFile();
    const { dataOffset } = await readGguf(source(whole));
    const mutation = fc.record({ at: fc.nat(dataOffset), bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), fc.option(fc.nat(whole.length)), async (mutations, end) => {
        const copy = whole.slice(0, end ?? whole.length);
        for (const { at, bytes } of mutations) if (at + bytes.length <= copy.length) copy.set(bytes, at);
        await tryAll(copy);
      }),
      { numRuns: 1500 },
    );
  });
});
