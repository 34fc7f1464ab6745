/** What Ollama has to be told about a chat format that it cannot read from Jinja. */
interface OllamaFormat {
  /** Whether a Jinja template is of this format. */
  matches: (jinja: string) => boolean;
  /** Go template; `$EOS` stands for the tokenizer's end token. */
  template: string;
  stops: readonly string[];
}

const FORMATS: readonly OllamaFormat[] = [
  {
    matches: (jinja) => jinja.includes('<|im_start|>'),
    template: '{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n',
    stops: ['<|im_end|>', '<|im_start|>'],
  },
  {
    matches: (jinja) => jinja.includes('<|start_header_id|>'),
    template:
      '{{- range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}' +
      '<|start_header_id|>assistant<|end_header_id|>\n\n',
    stops: ['<|eot_id|>'],
  },
  {
    matches: (jinja) => jinja.includes('[INST]'),
    template:
      '{{- range .Messages }}{{ if eq .Role "system" }}[INST] {{ .Content }}\n\n{{ else if eq .Role "user" }}' +
      '[INST] {{ .Content }} [/INST]{{ else }} {{ .Content }}$EOS{{ end }}{{ end }}',
    stops: ['[INST]', '[/INST]'],
  },
  {
    matches: (jinja) => jinja.includes('<|assistant|>') && jinja.includes('<|user|>'),
    template: '{{- range .Messages }}<|{{ .Role }}|>\n{{ .Content }}$EOS\n{{ end }}<|assistant|>\n',
    stops: ['<|user|>', '<|assistant|>'],
  },
  {
    matches: (jinja) => jinja.includes('User: ') && jinja.includes('Assistant:'),
    template:
      '{{- range .Messages }}{{ if eq .Role "assistant" }}Assistant: {{ .Content }}$EOS\n{{ else if eq .Role "user" }}User: {{ .Content }}\n' +
      '{{ else }}{{ .Content }}\n\n{{ end }}{{ end }}Assistant:',
    stops: ['User:'],
  },
];

export interface ModelfileFacts {
  /** What FROM names: a GGUF file beside the Modelfile, or an Ollama model. */
  from: string;
  /** A GGUF adapter beside the Modelfile. */
  adapter?: string;
  chatTemplate: string | null;
  /** Text of the tokenizer's end token. */
  eosToken: string;
}

/**
 * An Ollama Modelfile: FROM, ADAPTER, and TEMPLATE, SYSTEM and stops in the format that training used.
 * Where the template is of no known format, a comment says what is left to do.
 */
export function modelfile({ from, adapter, chatTemplate, eosToken }: ModelfileFacts): string {
  const lines = [`FROM ${from}`];
  if (adapter !== undefined) lines.push(`ADAPTER ${adapter}`);
  const format = FORMATS.find(({ matches }) => chatTemplate !== null && matches(chatTemplate));
  if (format) {
    const template = format.template.replaceAll('$EOS', eosToken);
    lines.push('', `TEMPLATE """${template}"""`);
    const system = defaultSystem(chatTemplate ?? '');
    if (system !== null) lines.push('', `SYSTEM """${system}"""`);
    const stops = eosToken !== '' && !format.stops.includes(eosToken) ? [...format.stops, eosToken] : format.stops;
    lines.push('', ...stops.map((stop) => `PARAMETER stop ${JSON.stringify(stop)}`));
  } else if (chatTemplate !== null) {
    lines.push('', "# The model's chat template is of no format that Hone knows in Ollama's words: add a TEMPLATE here before chatting.");
  }
  return `${lines.join('\n')}\n`;
}

/** The system message that a ChatML template puts in where a conversation has none, as SmolLM2's and Qwen's do. */
function defaultSystem(jinja: string): string | null {
  const match = /<\|im_start\|>system(?:\\n|\n)((?:(?!<\|im_end\|>|['"}{+]).)+)<\|im_end\|>/s.exec(jinja);
  return match ? match[1]!.replaceAll('\\n', '\n') : null;
}
