import type { AttentionShape } from '../../src/shaders/attention/attention';
import { attentionSuite } from '../../src/shaders/attention/attention.cases';
import { testOp } from './harness';

testOp(attentionSuite);
// What devices without subgroups run, and those whose loads are cheap: one case of each vector width, one of them plain.
const plain = (shape: AttentionShape): boolean => shape.window === null && shape.softcap === null;
const cases = attentionSuite.cases.filter(({ attention: shape }) => (plain(shape) ? [14] : [7, 20]).includes(shape.headDim));
testOp({ ...attentionSuite, cases }, { subgroupSize: 0 });
