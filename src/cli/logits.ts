import { AnsweringModel } from '../models/answering';
import { openDevice } from '../runtime/device';
import { ADAPTER_OPTIONS, adapterArguments, readArguments, required, UsageError, wholeNumber } from './arguments';
import { openAdapters, openModelPath } from './files';
import { nodeGpu } from './node-gpu';

/** `hone logits`: the most likely tokens after a prompt of ids. */
export async function logits(args: string[]): Promise<void> {
  const { values } = readArguments(
    args,
    { model: { type: 'string' }, ...ADAPTER_OPTIONS, ids: { type: 'string' }, top: { type: 'string' }, json: { type: 'boolean' } },
    { least: 0, most: 0, names: '' },
  );
  const source = await openModelPath(required(values.model, 'model'));
  const ids = idList(required(values.ids, 'ids'), source.config.vocab_size);
  const top = wholeNumber(values.top, 'top', 10, 1);
  const adapters = await openAdapters(adapterArguments(args), source.config);
  const model = await AnsweringModel.load(await openDevice(await nodeGpu()), source);
  const { inference } = await model.answerer(adapters, ids.length);
  const row = await inference.extend(ids);
  const best = Array.from(row.keys())
    .sort((a, b) => row[b]! - row[a]! || a - b)
    .slice(0, top)
    .map((id): [number, number] => [id, row[id]!]);
  if (values.json) console.log(JSON.stringify({ ids, top: best }));
  else for (const [id, logit] of best) console.log(`${String(id).padStart(7)}  ${logit.toFixed(6)}`);
  model.destroy();
}

function idList(text: string, vocabulary: number): number[] {
  const ids = text.split(',').map(Number);
  const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
  if (bad !== undefined) throw new UsageError(`--ids holds ${bad}; ids are whole numbers from 0 to ${vocabulary - 1}, with commas between.`);
  return ids;
}
