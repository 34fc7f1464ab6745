import type { Adapter } from '../../src/core/adapter';
import { MemorySink } from '../../src/core/bytes';
import type { GgufTokenizerKeys, ModelConfig } from '../../src/core/model';
import { exportMergedGguf } from '../../src/exports/gguf-model';
import { peftFiles } from '../../src/exports/peft';
import { randomModel, TINY } from '../fixtures';

const SPECIAL = ['<unk>', '<s>', '</s>', '<|im_start|>', '<|im_end|>'];

/** GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes. */
function byteTokens(): string[] {
  const isPrintable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

const tokens = [...SPECIAL, ...byteTokens()];

const tokenizer: GgufTokenizerKeys = {
  model: 'gpt2',
  pre: 'gpt-2',
  tokens,
  token_type: tokens.map((_, id) => (id < SPECIAL.length ? 3 : 1)),
  scores: null,
  merges: ['t h', 'e r'],
  bos_token_id: 1,
  eos_token_id: 4,
  eot_token_id: null,
  unknown_token_id: 0,
  padding_token_id: null,
  add_bos_token: false,
  add_eos_token: false,
  add_space_prefix: null,
};

/** An odd little Llama: 3 query heads of 10 on 1, a byte-level vocabulary, ChatML marks. */
export const ODD: ModelConfig = {
  ...TINY,
  hidden_size: 30,
  intermediate_size: 44,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  num_key_value_heads: 1,
  head_dim: 10,
  vocab_size: tokens.length,
  max_position_embeddings: 192,
  rope_factors: null,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: [4],
};

/** The same model every time, as a GGUF file that a person could choose. */
export async function tinyModelFile(name = 'odd.gguf', config = ODD): Promise<File> {
  const model = { ...randomModel(config, 7), name: 'odd', tokenizer: { kind: 'gguf' as const, keys: tokenizer } };
  const sink = new MemorySink();
  await exportMergedGguf({ model, name: 'odd', type: 'F32' }, sink);
  return new File([sink.bytes() as Uint8Array<ArrayBuffer>], name);
}

/** Conversations of one short question and answer each. */
export function tinyDataset(rows = 24): string {
  const row = (i: number) => ({ messages: [{ role: 'user', content: `What is ${i}?` }, { role: 'assistant', content: `It is ${i % 3 ? 'odd' : 'even'} ${i}.` }] });
  return Array.from({ length: rows }, (_, i) => `${JSON.stringify(row(i))}\n`).join('');
}

/** The files that PEFT would have left. */
export async function peftFolder(adapter: Adapter, baseModel = 'someone/odd'): Promise<File[]> {
  const files: File[] = [];
  for (const { name, write } of peftFiles({ adapter, card: { name: 'x', baseModel, facts: [] } })) {
    const sink = new MemorySink();
    await write(sink);
    files.push(new File([sink.bytes() as Uint8Array<ArrayBuffer>], name));
  }
  return files;
}
