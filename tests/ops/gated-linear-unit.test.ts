import { gatedLinearUnitSuite } from '../../src/shaders/gated-linear-unit/gated-linear-unit.cases';
import { testOp } from './harness';

testOp(gatedLinearUnitSuite('silu'));
testOp(gatedLinearUnitSuite('gelu_pytorch_tanh'));
