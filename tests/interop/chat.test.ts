import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TemplateError } from '../../src/core/errors';
import { renderChat, type Message } from '../../src/data/chat/render';
import { OWN_TEMPLATES } from '../exports/chat-templates';
import { shared } from '../shared';

const python = process.env['HONE_PYTHON'] ?? 'python3';
const hasTransformers = spawnSync(python, ['-c', 'import transformers, jinja2'], { stdio: 'ignore' }).status === 0;
const script = fileURLToPath(new URL('./chat_render.py', import.meta.url));

const folder = shared('chat-templates');
const templates: Record<string, string> = {
  ...Object.fromEntries((folder ? readdirSync(folder) : []).map((name) => [name, readFileSync(`${folder}/${name}`, 'utf8')])),
  ...Object.fromEntries(Object.entries(OWN_TEMPLATES).map(([name, { template }]) => [name, template])),
};

/** Words and marks that templates look for, and white space of all kinds at the ends of messages. */
const content = fc
  .array(
    fc.oneof(
      fc.constantFrom('Hi', 'naïve 日本 🙂', '{{ x }} {% if y %}', '</think>', '<think>\nhm\n</think>\n\n', '/no_think', '/think', '<|im_end|>', '<end_of_turn>', '[/INST]', '</s>'),
      fc.constantFrom(' ', '\n', '\t', '\r\n', '\u00a0', '\u0085', '\ufeff', '\u001c', '\u2003', '\u200b', '\u0000'),
      fc.string({ unit: 'grapheme', maxLength: 5 }),
    ),
    { maxLength: 5 },
  )
  .map((pieces) => pieces.join(''));
const role = fc.constantFrom('user', 'assistant', 'user', 'assistant', 'system');
const ordinary = fc.tuple(fc.boolean(), fc.array(content, { minLength: 1, maxLength: 6 })).map(([system, contents]) =>
  contents.map((text, i): Message => ({ role: system && i === 0 ? 'system' : (i - Number(system)) % 2 === 0 ? 'user' : 'assistant', content: text })),
);
const conversation = fc.oneof({ weight: 4, arbitrary: ordinary }, { weight: 1, arbitrary: fc.array(fc.record({ role, content }), { minLength: 1, maxLength: 5 }) });

describe.skipIf(!hasTransformers)('chat templates in Python (skipped without a Python that has transformers and jinja2: HONE_PYTHON)', () => {
  it('render the same text, or refuse the same conversations', () => {
    const chats = Object.keys(templates).flatMap((template) =>
      fc.sample(fc.record({ messages: conversation, add_generation_prompt: fc.boolean() }), { numRuns: 150, seed: 5 }).map((chat) => ({ template, bos_token: '<s>', eos_token: '</s>', ...chat })),
    );
    const { stdout, stderr, status } = spawnSync(python, [script], { input: JSON.stringify({ templates, chats }), encoding: 'utf8', maxBuffer: 1 << 28 });
    expect(status, stderr).toBe(0);
    const texts = JSON.parse(stdout) as (string | null)[];
    expect(texts.filter((text) => text !== null).length).toBeGreaterThan(chats.length / 2);
    chats.forEach(({ template, messages, add_generation_prompt }, i) => {
      expect(rendered(templates[template]!, messages, add_generation_prompt), `${template}: ${JSON.stringify(messages)}`).toBe(texts[i]);
    });
  });
});

function rendered(template: string, messages: readonly Message[], addGenerationPrompt: boolean): string | null {
  try {
    return renderChat(template, messages, { bosToken: '<s>', eosToken: '</s>', addGenerationPrompt });
  } catch (error) {
    if (error instanceof TemplateError) return null;
    throw error;
  }
}
