import { EMPTY_REPLY, hasKey, lacks, textOf, type Format } from './row';

const INPUT = ['input', 'context'];
const OUTPUT = ['output', 'response'];

/** Alpaca's form: `{"instruction": "…", "input": "…", "output": "…"}`; the input, where there is one, follows the instruction after a blank line. */
export const alpaca: Format = {
  name: 'alpaca',
  keys: 'instruction and output',
  matches: (raw) => hasKey(raw, 'instruction') && hasKey(raw, ...OUTPUT),
  read(raw) {
    const instruction = textOf(raw, 'instruction');
    const output = textOf(raw, ...OUTPUT);
    if (instruction === null) return lacks('an instruction');
    if (output === null) return lacks('an output');
    if (output.trim() === '') return EMPTY_REPLY;
    const input = textOf(raw, ...INPUT) ?? '';
    const prompt = input.trim() === '' ? instruction : `${instruction}\n\n${input}`;
    return { kind: 'completion', system: textOf(raw, 'system') || null, prompt, completion: output };
  },
};
