import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TemplateError } from '../../src/core/errors';
import { renderChat, type Message } from '../../src/data/chat/render';
import { trainedSpans } from '../../src/data/chat/spans';
import { DEFAULT_TEMPLATES, type TemplateName } from '../../src/data/chat/templates';
import { shared } from '../shared';

interface Golden {
  template: string;
  chats: {
    case: string;
    messages: Message[];
    add_generation_prompt: boolean;
    bos_token: string;
    eos_token: string;
    date_string: string;
    tools?: object[];
    rendered?: string;
    error?: string;
    trained?: string[];
  }[];
}

const folder = shared('goldens/chat');
const files = folder ? readdirSync(folder).filter((name) => name.endsWith('.json')) : [];

describe.skipIf(!folder)('real chat templates (skipped without ../shared/goldens/chat)', () => {
  it('are all there', () => {
    expect(files.length).toBe(10);
  });

  for (const file of files) {
    it(`${file} renders as jinja2 does, and the trained text is found in it`, () => {
      const golden = JSON.parse(readFileSync(join(folder!, file), 'utf8')) as Golden;
      const template = readFileSync(shared(`chat-templates/${golden.template}`)!, 'utf8');
      for (const chat of golden.chats) {
        const context = { bosToken: chat.bos_token, eosToken: chat.eos_token, tools: chat.tools ?? null, variables: { date_string: chat.date_string } };
        const render = (): string => renderChat(template, chat.messages, { ...context, addGenerationPrompt: chat.add_generation_prompt });
        if (chat.error !== undefined) {
          expect(render).toThrow(TemplateError);
          expect(render).toThrow(chat.error);
          continue;
        }
        expect(render(), chat.case).toBe(chat.rendered);
        if (chat.trained === undefined || chat.trained.length === 0) continue;
        const { text, spans } = trainedSpans(template, chat.messages, context);
        expect(text).toBe(chat.rendered);
        expect(spans.map(({ start, end }) => text.slice(start, end)), chat.case).toEqual(chat.trained);
        const last = trainedSpans(template, chat.messages, context, 'last').spans;
        expect(last.map(({ start, end }) => text.slice(start, end))).toEqual(chat.trained.slice(-1));
        expect(trainedSpans(template, chat.messages, context, 'all').spans).toEqual([{ start: 0, end: text.length }]);
      }
    });
  }

  it('mark the reasoning of a reply that brings its own', () => {
    const template = readFileSync(shared('chat-templates/Qwen-Qwen3-0.6B.jinja')!, 'utf8');
    const messages = [
      { role: 'user', content: 'Why?' },
      { role: 'assistant', content: '<think>\nBecause.\n</think>\n\nSo.' },
    ];
    const { text, spans } = trainedSpans(template, messages, { bosToken: '', eosToken: '<|im_end|>' });
    expect(spans.map(({ start, end }) => text.slice(start, end))).toEqual(['<think>\nBecause.\n</think>\n\nSo.<|im_end|>']);
  });
});

describe('default templates', () => {
  const context = { bosToken: '<s>', eosToken: '</s>' };
  const messages = [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello!' },
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hi' },
  ];
  const expected: Record<TemplateName, string[]> = {
    chatml: ['Hello!<|im_end|>', 'Hi<|im_end|>'],
    llama3: ['Hello!<|eot_id|>', 'Hi<|eot_id|>'],
    mistral: [' Hello!</s>', ' Hi</s>'],
    plain: [' Hello!</s>', ' Hi</s>'],
  };

  it.each(Object.keys(DEFAULT_TEMPLATES) as TemplateName[])('%s marks replies with their end token and continues its own prompt', (name) => {
    const template = DEFAULT_TEMPLATES[name];
    const { text, spans } = trainedSpans(template, messages, context);
    expect(spans.map(({ start, end }) => text.slice(start, end).trimStart())).toEqual(expected[name].map((reply) => reply.trimStart()));
    const prompt = renderChat(template, messages.slice(0, 2), { ...context, addGenerationPrompt: true });
    expect(text.startsWith(prompt)).toBe(true);
    expect(spans[0]!.start).toBeGreaterThanOrEqual(prompt.length);
  });
});

describe('the template language', () => {
  const render = (template: string): string => renderChat(template, [{ role: 'user', content: '\n  xaax \n' }], { bosToken: '', eosToken: '' });

  it.each([
    ["{{ messages[0].content.strip('\\n') + '|' }}", '  xaax |'],
    ["{{ messages[0].content.strip().lstrip('xa') + '|' }}", '|'],
    ["{{ messages[0].content.strip().rstrip('x').lstrip('x') + '|' }}", 'aa|'],
    ['{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(5, 1, -2) %}{{ i }}{% endfor %}', '01253'],
    ["{{ strftime_now('%d %b %Y') }}", '26 Jul 2024'],
    ['{% if x is defined %}a{% else %}b{% endif %}\n{%- if none is none and not False %} c{% endif %}', 'b c'],
  ])('%s', (template, expected) => {
    expect(render(template)).toBe(expected);
  });

  it('refuses a loop that would never end', () => {
    expect(() => render('{% for i in range(1000000000000) %}{% endfor %}')).toThrow(/too long/);
    expect(() => render('{{ range(1, 2, 0) }}')).toThrow(TemplateError);
  });
});

describe('templates that cannot be used', () => {
  const context = { bosToken: '', eosToken: '' };
  const chat = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello' },
  ];

  it('are refused in a sentence that says why', () => {
    expect(() => renderChat('{% for x in %}', chat, context)).toThrow(/not valid Jinja/);
    expect(() => trainedSpans("{{ messages[0]['content'] }}", chat, context)).toThrow(/leaves the assistant messages out/);
    expect(() => trainedSpans("{{ messages[1]['content'] }}{{ messages[1]['content'] }}", chat, context)).toThrow(/cannot tell what to train on/);
    expect(() => trainedSpans("{{ messages[1]['content'] | length }}: {{ messages[1]['content'] }}", chat, context)).toThrow(TemplateError);
    expect(() => trainedSpans('{{ messages }}', chat.slice(0, 1), context)).toThrow(/no assistant message/);
  });

  it('end the trained text with the reply where there is no end token', () => {
    const { text, spans } = trainedSpans("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}", chat, context);
    expect(spans.map(({ start, end }) => text.slice(start, end))).toEqual(['Hello']);
  });
});
