import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { renderChat, type Message } from '../../src/data/chat/render';
import { DEFAULT_TEMPLATES } from '../../src/data/chat/templates';
import { modelfile, type TokenizerFacts } from '../../src/exports/modelfile';
import { shared } from '../shared';
import { OWN_TEMPLATES } from '../exports/chat-templates';

const go = ['go', '/usr/local/go/bin/go'].find((path) => spawnSync(path, ['version'], { stdio: 'ignore' }).status === 0);
const program = fileURLToPath(new URL('./go-template/main.go', import.meta.url));

interface Reading {
  commands: [string, string][];
  texts: string[];
}

/** What Go makes of a Modelfile and of conversations with its TEMPLATE. */
function read(text: string, conversations: readonly Message[][]): Reading {
  const { status, stdout, stderr } = spawnSync(go!, ['run', program], {
    input: JSON.stringify({ modelfile: text, conversations }),
    encoding: 'utf8',
    env: { ...process.env, GO111MODULE: 'off', GOTOOLCHAIN: 'local' },
  });
  if (status !== 0) throw new Error(`Go: ${stderr}`);
  return JSON.parse(stdout) as Reading;
}

const facts = (bosToken: string, eosToken: string, stops: string[] = []): TokenizerFacts => ({ bosToken, eosToken, addsBos: bosToken !== '', stops });

const LLAMA3 = facts('<|begin_of_text|>', '<|eot_id|>', ['<|eot_id|>', '<|eom_id|>', '<|end_of_text|>']);
const SPM = facts('<s>', '</s>');
/** The published templates, with their tokenizers' marks, and the token that ends a reply. */
const REAL: [string, TokenizerFacts, string][] = [
  ['HuggingFaceTB-SmolLM3-3B', facts('', '<|im_end|>'), '<|im_end|>'],
  ['Qwen-Qwen2.5-7B-Instruct', facts('', '<|im_end|>'), '<|im_end|>'],
  ['Qwen-Qwen3-0.6B', facts('', '<|im_end|>'), '<|im_end|>'],
  ['google-gemma-2-2b-it', facts('<bos>', '<eos>'), '<end_of_turn>'],
  ['google-gemma-4-31B-it', facts('<bos>', '<eos>'), '<turn|>'],
  ['meta-llama-Llama-3.1-8B-Instruct', LLAMA3, '<|eot_id|>'],
  ['meta-llama-Llama-3.2-3B-Instruct', LLAMA3, '<|eot_id|>'],
  ['meta-llama-Llama-3.3-70B-Instruct', LLAMA3, '<|eot_id|>'],
  ['microsoft-Phi-3.5-mini-instruct', facts('<s>', '<|endoftext|>'), '<|end|>'],
  ['mistralai-Mistral-Nemo-Instruct-2407', SPM, '</s>'],
];

const real = (name: string): string => readFileSync(shared(`chat-templates/${name}.jinja`)!, 'utf8');

const chat = (system: string | null, ...turns: string[]): Message[] => [
  ...(system === null ? [] : [{ role: 'system', content: system }]),
  ...turns.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
];
const TURNS = [
  ['Hi'],
  [' Hi\n'],
  ['Hi', 'Hello!', 'Who are you?'],
  ['a', 'b', 'c', 'd', 'e', 'f', 'g'],
  ['  What is {{ .Content }} {% x %}?\n', '\n\n `"""` and "quotes" \\ \t\n', ' 日本\u00a0🙂\u2028é '],
  ['Think.', '<think>\nThe answer\nis 4.\n</think>\n\nFour.', 'And now?', 'x</think>\n\n\n y</think>z', '<think>a</think>?'],
];
/** The assistant speaks first. */
const GREETINGS = [null, 'Be kind.'].map((system) => chat(system, '', ' Welcome! ', 'Hi').filter(({ content }) => content !== ''));
const CONVERSATIONS = [null, 'Be kind.', '  Use "{{ json }}".\n\nBe brief.\n'].flatMap((system) => TURNS.map((turns) => chat(system, ...turns))).concat(GREETINGS);

function check(template: string, tokenizer: TokenizerFacts, endToken: string): void {
  const { commands, texts } = read(modelfile({ from: './m.gguf', chatTemplate: template, tokenizer }), CONVERSATIONS);
  expect(commands.filter(([name]) => name === 'PARAMETER').map(([, value]) => value)).toContain(`stop "${endToken}"`);
  let compared = 0;
  CONVERSATIONS.forEach((messages, i) => {
    let jinja: string;
    try {
      jinja = renderChat(template, messages, { ...tokenizer, addGenerationPrompt: true });
    } catch {
      return;
    }
    compared++;
    expect(texts[i], JSON.stringify(messages)).toBe(tokenizer.addsBos && jinja.startsWith(tokenizer.bosToken) ? jinja.slice(tokenizer.bosToken.length) : jinja);
  });
  expect(compared).toBeGreaterThanOrEqual(TURNS.length);
}

describe.skipIf(!go)('a Modelfile in Go (skipped without Go)', () => {
  for (const [name, tokenizer, endToken] of REAL) {
    it.skipIf(!shared('chat-templates'))(`writes what ${name}'s template does (skipped without ../shared/chat-templates)`, () => {
      check(real(name), tokenizer, endToken);
    });
  }

  for (const [name, { template, tokenizer, endToken }] of Object.entries(OWN_TEMPLATES)) {
    it(`writes what a template in the manner of ${name} does`, () => check(template, tokenizer, endToken));
  }

  for (const [name, template] of Object.entries(DEFAULT_TEMPLATES)) {
    it(`writes what the default template ${name} does`, () => {
      const ends = { chatml: '<|im_end|>', llama3: '<|eot_id|>', mistral: '</s>', plain: '</s>' } as const;
      check(template, SPM, ends[name as keyof typeof ends]);
    });
  }

  it('puts a system message that the template refuses before the first question', () => {
    const template = OWN_TEMPLATES['Gemma 3']!.template.replace("messages[0]['role'] == 'system'", "messages[0]['role'] == 'system' and raise_exception('no')");
    const text = modelfile({ from: './m.gguf', chatTemplate: template, tokenizer: facts('<bos>', '<eos>') });
    expect(text).toContain('refuses system messages');
    const { texts } = read(text, [chat('Be kind.', 'Hi')]);
    expect(texts[0]).toBe('<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\n');
  });

  it('continues a reply that a conversation ends with', () => {
    const text = modelfile({ from: './m.gguf', chatTemplate: DEFAULT_TEMPLATES.chatml, tokenizer: facts('', '<|im_end|>') });
    expect(read(text, [chat(null, 'Hi', 'Hel')]).texts[0]).toBe('<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHel');
  });

  it('would be seen to differ', () => {
    const { template, tokenizer, endToken } = OWN_TEMPLATES.ChatML!;
    const text = modelfile({ from: './m.gguf', chatTemplate: template, tokenizer });
    expect(() => check(template, { ...tokenizer, bosToken: '<|im_start|>', addsBos: true }, '<none>')).toThrow();
    expect(read(text.replaceAll(`${endToken}\\n`, endToken), [chat(null, 'Hi')]).texts[0]).not.toBe(read(text, [chat(null, 'Hi')]).texts[0]);
  });
});
