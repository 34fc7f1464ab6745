import type { TokenizerFacts } from '../../src/exports/modelfile';

interface OwnTemplate {
  template: string;
  tokenizer: TokenizerFacts;
  /** What ends a reply. */
  endToken: string;
}

const facts = (bosToken: string, eosToken: string): TokenizerFacts => ({ bosToken, eosToken, addsBos: bosToken !== '', stops: [] });

/** Short chat templates that write what those of well-known families write. */
export const OWN_TEMPLATES: Record<string, OwnTemplate> = {
  ChatML: {
    template: "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' if add_generation_prompt }}",
    tokenizer: facts('', '<|im_end|>'),
    endToken: '<|im_end|>',
  },
  SmolLM2: {
    template:
      "{% for m in messages %}{% if loop.first and m.role != 'system' %}{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}{% endif %}" +
      "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    tokenizer: { bosToken: '<|im_start|>', eosToken: '<|im_end|>', addsBos: false, stops: [] },
    endToken: '<|im_end|>',
  },
  'TinyLlama and Zephyr': {
    template:
      "{% for m in messages %}\n{{ '<|' + m.role + '|>\\n' + m.content + eos_token }}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    tokenizer: facts('<s>', '</s>'),
    endToken: '</s>',
  },
  'Llama 2': {
    template:
      "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}" +
      "{% for m in turns %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + ((system if loop.first else '') + m.content).strip() + ' [/INST]' }}" +
      "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    tokenizer: facts('<s>', '</s>'),
    endToken: '</s>',
  },
  'Phi-3': {
    template:
      "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>' + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
    tokenizer: facts('<s>', '<|endoftext|>'),
    endToken: '<|end|>',
  },
  'Gemma 3': {
    template:
      "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\\n\\n' %}{% set turns = messages[1:] %}{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}" +
      "{% for m in turns %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + (first if loop.first else '') }}{{ m.content | trim }}{{ '<end_of_turn>\\n' }}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
    tokenizer: facts('<bos>', '<eos>'),
    endToken: '<end_of_turn>',
  },
  'Mistral 7B': {
    template:
      "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\\n\\n' %}{% set turns = messages[1:] %}{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}" +
      "{% for m in turns %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}" +
      "{% if m.role == 'user' %}{{ ' [INST] ' + (system if loop.first else '') + m.content + ' [/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    tokenizer: facts('<s>', '</s>'),
    endToken: '</s>',
  },
  'DeepSeek R1': {
    template:
      "{% set ns = namespace(system='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.system = m.content %}{% endif %}{% endfor %}{{ bos_token + ns.system }}" +
      "{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% elif m.role == 'assistant' %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}" +
      "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}",
    tokenizer: facts('<｜begin▁of▁sentence｜>', '<｜end▁of▁sentence｜>'),
    endToken: '<｜end▁of▁sentence｜>',
  },
};
