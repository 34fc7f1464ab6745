/** The `hone` command. */
const USAGE = `Usage: npx hone COMMAND …

  inspect FILE|DIR                      what a model, adapter or data set is
  data FILE [--model M]                 the data checks of the studio
  train RECIPE.json --out DIR [--resume]
  generate --model M [--adapter A] --prompt TEXT | --messages FILE
  tokenize --model M [--parse-special] FILE|-
  logits --model M [--adapter A] --ids 1,2,3 [--top K] --json
  export DIR --to peft|gguf-adapter|gguf --type TYPE --out FILE
  bench                                 this device's measured limits and the step's share of them

M is a GGUF file or a folder with config.json and safetensors.`;

const command = process.argv[2];
if (command === undefined || command === '--help' || command === 'help') {
  console.log(USAGE);
} else {
  console.error(`hone: there is no command "${command}"; "npx hone --help" lists them.`);
  process.exitCode = 2;
}
