import { HoneError } from '../core/errors';
import { UsageError } from './arguments';

/** The `hone` command: one file a command, loaded when it is asked for. */
const COMMANDS: Record<string, () => Promise<(args: string[]) => Promise<void>>> = {
  inspect: async () => (await import('./inspect')).inspect,
  data: async () => (await import('./data')).data,
  train: async () => (await import('./train')).train,
  generate: async () => (await import('./generate')).generate,
  tokenize: async () => (await import('./tokenize')).tokenize,
  logits: async () => (await import('./logits')).logits,
  'merge-adapters': async () => (await import('./merge-adapters')).mergeAdapterFiles,
  export: async () => (await import('./export')).exportRun,
  bench: async () => (await import('./bench')).bench,
};

const USAGE = `Usage: npx hone COMMAND …

  inspect FILE|DIR                      what a model, adapter, run or data set is
  data FILE [--model M] [--format F] [--train-on replies|last|all] [--max-length N] [--row N]
                                        the data checks of the studio; --row shows one row as it is learned
  train RECIPE.json --out DIR [--resume]
                                        DIR/metrics.jsonl (a line a step), DIR/checkpoints, DIR/adapter
  generate --model M [--adapter A [--adapter-scale X]]… --prompt TEXT | --messages FILE [--raw] [--max-tokens N]
           [--temperature T --top-k K --top-p P --seed S]
  tokenize --model M [--parse-special] [--split SEP] FILE|-
  logits --model M [--adapter A [--adapter-scale X]]… --ids 1,2,3 [--top K] [--json]
  merge-adapters A B … [--weights 0.7,0.3] [--base M] --out DIR|FILE.gguf
                                        one adapter that does what several do together
  export RUN|--adapter A --to gguf|gguf-adapter|peft|safetensors|mlx|modelfile|lmstudio [--type T]
         [--checkpoint best|last] [--model M] --out FILE|DIR
                                        read again and compared with the trained model: FILE.certificate.json
  bench [--only matmul|step] [--rounds N] [--no-peer]
                                        this device's measured limits, and what kernels and whole steps reach of them

M is a GGUF file or a folder with config.json and safetensors. A is a GGUF adapter, or the
folder of a PEFT adapter or of a run; several act together, each times its --adapter-scale.
T is F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1 or Q4_0, filled as llama-quantize fills them.`;

async function main([name, ...args]: string[]): Promise<void> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help' || args.includes('--help')) {
    console.log(USAGE);
    return;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!command) throw new UsageError(`there is no command "${name}"; "npx hone --help" lists them.`);
  await (await command())(args);
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  // What a person can act on is one line; anything else is a defect and shows where it happened.
  if (!(error instanceof HoneError)) throw error;
  console.error(`${error.name}: ${error.message.replaceAll('\n', ' ')}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
