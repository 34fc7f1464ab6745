import { attentionSuite } from '../../src/shaders/attention/attention.cases';
import { testOp } from './harness';

testOp(attentionSuite);
// What devices without subgroups run, and those whose loads are cheap: one case of each vector width.
testOp({ ...attentionSuite, cases: attentionSuite.cases.filter(({ attention }) => [7, 14, 20].includes(attention.headDim)) }, { subgroupSize: 0 });
