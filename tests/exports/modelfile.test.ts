import { describe, expect, it } from 'vitest';
import { modelfile, type TokenizerFacts } from '../../src/exports/modelfile';
import { findTurns, renderTurns } from '../../src/exports/ollama/turns';
import { OWN_TEMPLATES } from './chat-templates';

const tokenizer: TokenizerFacts = { bosToken: '<s>', eosToken: '</s>', addsBos: true, stops: ['</s>', '<|end|>'] };
const written = (chatTemplate: string | null, facts = tokenizer): string => modelfile({ from: './m.gguf', chatTemplate, tokenizer: facts });
const turnsOf = (template: string) => findTurns(template, { bosToken: '<s>', eosToken: '</s>' });

describe('a Modelfile', () => {
  it('names its files, writes the turns with quoted text and stops at every end token', () => {
    const text = modelfile({ from: './m.gguf', adapter: './a.gguf', chatTemplate: OWN_TEMPLATES.ChatML!.template, tokenizer });
    expect(text).toBe(`FROM ./m.gguf
ADAPTER ./a.gguf

# Writes what the model's chat template writes for system, user and assistant messages; tools are left out.
TEMPLATE """{{- $begun := false }}
{{- range $i, $message := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 }}
{{- if eq .Role "user" }}
{{- if $begun }}{{- "<|im_end|>\\n<|im_start|>user\\n" }}{{- else }}{{- if $.System }}{{- "<|im_start|>system\\n" }}{{- else }}{{- "<|im_start|>user\\n" }}{{- end }}{{- end }}
{{- if and $.System (not $begun) }}{{- $.System }}{{- "<|im_end|>\\n<|im_start|>user\\n" }}
{{- end }}
{{- .Content }}
{{- $begun = true }}
{{- "<|im_end|>\\n<|im_start|>assistant\\n" }}
{{- else if eq .Role "assistant" }}
{{- if not $begun }}{{- if $.System }}{{- "<|im_start|>system\\n" }}{{- $.System }}{{- "<|im_end|>\\n<|im_start|>assistant\\n" }}{{- else }}{{- "<|im_start|>assistant\\n" }}{{- end }}{{- end }}
{{- $begun = true }}
{{- .Content }}
{{- end }}
{{- end }}"""

PARAMETER stop "<|im_end|>"
PARAMETER stop "</s>"
PARAMETER stop "<|end|>"
`);
  });

  it('leaves the BOS to a tokenizer that adds one, and writes it where none does', () => {
    const { template } = OWN_TEMPLATES['Phi-3']!;
    expect(written(template)).toContain('{{- "<|user|>\\n" }}');
    expect(written(template, { ...tokenizer, addsBos: false })).toContain('{{- "<s><|user|>\\n" }}');
  });

  it('stops at the next question where replies have no end token', () => {
    const template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}{{ 'assistant:' }}";
    expect(written(template, { ...tokenizer, eosToken: '', stops: [] })).toContain('PARAMETER stop "user:"');
  });

  it('says what it cannot write', () => {
    expect(written('{{ strange }}')).toContain('# Without a TEMPLATE here Ollama takes the nearest of its own');
    expect(written('{{ strange }}')).not.toContain('TEMPLATE """');
    expect(written('{{ broken')).not.toContain('TEMPLATE """');
    expect(written(null)).toBe('FROM ./m.gguf\n');
  });
});

describe('the turns of a chat template', () => {
  it('hold the default system message, what is stripped, and where the system message goes', () => {
    expect(turnsOf(OWN_TEMPLATES.SmolLM2!.template)).toMatchObject({
      head: '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\n',
      system: { head: '<|im_start|>system\n', glue: '<|im_end|>\n<|im_start|>user\n', before: 'first', refused: false },
      thinking: null,
    });
    const strict = turnsOf(OWN_TEMPLATES['Llama 2']!.template)!;
    expect([strict.stripped.user.left, strict.stripped.told.left, strict.stripped.told.right]).toEqual([' \n\t\r\v\f', '', ' \n\t\r\v\f']);
    expect(turnsOf(OWN_TEMPLATES['DeepSeek R1']!.template)!.thinking).toBe('');
    expect(renderTurns(strict, [{ role: 'system', content: 'S' }, { role: 'user', content: ' U ' }])).toBe('<s>[INST] <<SYS>>\nS\n<</SYS>>\n\n U [/INST]');
  });

  it.each([
    ['counts its turns', "{% for m in messages %}{{ loop.index ~ m.role + m.content }}{% endfor %}{{ 'assistant' }}"],
    ['writes long messages otherwise', "{% for m in messages %}{{ m.role + (m.content if m.content | length < 30 else 'long') }}{% endfor %}"],
    ['writes a message twice', '{% for m in messages %}{{ m.role + m.content + m.content }}{% endfor %}'],
    ['rewrites messages', '{% for m in messages %}{{ m.role + m.content | upper }}{% endfor %}'],
  ])('are not guessed at where the template %s', (_, template) => {
    expect(turnsOf(template)).toBeNull();
  });
});
