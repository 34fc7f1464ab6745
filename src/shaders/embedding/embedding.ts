import type { Graph } from '../../autograd/graph';
import { maxRows, rowLength, specialize, type Tensor } from '../../runtime/program';
import { groupGrid, threadGrid } from '../grid';
import { weightReader } from '../linear/readers';
import { fill } from '../optimizer/fill';
import { specializeVector, vectorWidth } from '../vector';
import { isFrozen, type FrozenWeight, type Weight } from '../weight';
import forwardSource from './forward.wgsl?raw';
import frozenSource from './frozen.wgsl?raw';
import linksSource from './links.wgsl?raw';
import weightGradientSource from './weight-gradient.wgsl?raw';

/** Rows of the vocabulary's matrix weight [V, C] by ids (u32 [M], below V): [M, C]. Only a trained f32 tensor gets a gradient. */
export function embedding(g: Graph, ids: Tensor, weight: Weight): Tensor {
  return isFrozen(weight) ? frozen(g, ids, weight) : trained(g, ids, weight);
}

function frozen(g: Graph, ids: Tensor, weight: FrozenWeight): Tensor {
  const C = weight.columns;
  const quads = Math.ceil(C / 4);
  const rows = ids.shape[0];
  const out = g.tensor('embedded', [rows, C]);
  weight.shards.forEach((shard, i) => {
    const reader = weightReader(weight.type, C, 2);
    const constants = { C, QUADS: quads, FIRST_ROW: shard.firstRow, ROWS: shard.rows, OUT: 2 + shard.parts.length };
    const kernel = specialize('embedding', reader + frozenSource, constants);
    const read = [ids, ...shard.parts];
    g.dispatch(kernel, rows, threadGrid(quads), i === 0 ? { read, write: [out] } : { read, update: [out] }, C);
  });
  return out;
}

function trained(g: Graph, ids: Tensor, weight: Tensor): Tensor {
  const C = rowLength(weight.shape);
  const width = vectorWidth(C);
  const constants = { VECTORS: C / width, V: maxRows(weight.shape[0]) };
  const rows = ids.shape[0];
  const out = g.tensor('embedded', [rows, C]);
  const forward = specializeVector('embedding', forwardSource, width, constants);
  g.dispatch(forward, rows, threadGrid(C / width), { read: [ids, weight], write: [out] }, C);
  g.record([weight], [out], () => {
    const dout = g.gradOf(out)!;
    g.accumulate(weight, (dweight) => {
      if (!dweight.add) fill(g, dweight.tensor, 0);
      const links = g.tensor('same ids', [rows, 2], 'u32');
      g.dispatch({ name: 'embedding links', code: linksSource }, rows, threadGrid(1), { read: [ids], write: [links] }, maxRows(rows));
      const kernel = specializeVector('embedding backward', weightGradientSource, width, constants);
      g.dispatch(kernel, rows, groupGrid(), { read: [ids, links, dout], update: [dweight.tensor] }, C);
    });
  });
  return out;
}
