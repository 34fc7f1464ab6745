import { crossEntropySuite } from '../../src/shaders/cross-entropy/cross-entropy.cases';
import { testOp } from './harness';

testOp(crossEntropySuite);
