import { swiGluSuite } from '../../src/shaders/swiglu/swiglu.cases';
import { testOp } from './harness';

testOp(swiGluSuite);
