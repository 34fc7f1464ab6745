import type { Tokenizer } from '../tokenizer/tokenizer';

/** Named chat templates for models that carry none. */
export const DEFAULT_TEMPLATES = {
  chatml:
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  llama3:
    '{{ bos_token }}{% for message in messages %}' +
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  mistral:
    "{{ bos_token }}{% if messages and messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] + '\\n\\n' %}{% set turns = messages[1:] %}" +
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}{% for message in turns %}" +
    "{% if message['role'] == 'user' %}{{ '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}" +
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}",
  plain:
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %}{{ 'Assistant: ' + message['content'] + eos_token + '\\n' }}" +
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\\n' }}{% else %}{{ message['content'] + '\\n\\n' }}{% endif %}{% endfor %}" +
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
} as const;

export type TemplateName = keyof typeof DEFAULT_TEMPLATES;

/** A template and where it came from: the model's own, or a default's name. */
export interface ChosenTemplate {
  template: string;
  name: 'model' | TemplateName;
}

/** The model's own chat template, else the default whose turn marks its vocabulary has as special tokens, else `plain`. */
export function chooseTemplate(chatTemplate: string | null, tokenizer: Tokenizer): ChosenTemplate {
  if (chatTemplate !== null && chatTemplate.trim() !== '') return { template: chatTemplate, name: 'model' };
  const has = (token: string): boolean => tokenizer.tokenId(token) !== null;
  let name: TemplateName = 'plain';
  if (has('<|im_start|>') && has('<|im_end|>')) name = 'chatml';
  else if (has('<|start_header_id|>') && has('<|eot_id|>')) name = 'llama3';
  else if (has('[INST]') && has('[/INST]')) name = 'mistral';
  return { template: DEFAULT_TEMPLATES[name], name };
}
