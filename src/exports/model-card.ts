/** What a model card says about where an adapter came from. */
export interface CardFacts {
  name: string;
  /** Hub id of the base model, or its name. */
  baseModel: string;
  /** Anything worth knowing, in order: data set, steps, loss. */
  facts: readonly { label: string; value: string }[];
}

/** README.md in the form of the hub's model cards: YAML front matter, what it is, how to load it, how it was made. */
export function modelCard({ name, baseModel, facts }: CardFacts): string {
  return `---
base_model: ${JSON.stringify(baseModel)}
library_name: peft
pipeline_tag: text-generation
tags:
  - lora
  - hone
---

# ${name}

A LoRA adapter for **${baseModel}**, trained with Hone.

## Use it

\`\`\`python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = AutoModelForCausalLM.from_pretrained(${JSON.stringify(baseModel)})
tokenizer = AutoTokenizer.from_pretrained(${JSON.stringify(baseModel)})
model = PeftModel.from_pretrained(base, "path/to/this/folder")
\`\`\`

It works with this base model only; with another it gives nonsense.

## How it was made

| | |
|---|---|
${facts.map(({ label, value }) => `| ${cell(label)} | ${cell(value)} |`).join('\n')}
`;
}

function cell(value: string): string {
  return value.replaceAll('|', '\\|').replaceAll(/\s*\n\s*/g, ' ');
}
