import { biasSuite } from '../../src/shaders/bias/bias.cases';
import { testOp } from './harness';

testOp(biasSuite);
// A bias that is trained on its own: then nothing but its gradient is written, and can be added to what is there.
testOp({
  ...biasSuite,
  op: 'bias of a frozen input',
  inPlace: false,
  cases: biasSuite.cases.slice(1, 2).map((c) => ({ ...c, inputs: { ...c.inputs, x: { ...c.inputs.x!, trained: false } } })),
});
