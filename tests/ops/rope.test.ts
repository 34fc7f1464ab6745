import { ropeSuite } from '../../src/shaders/rope/rope.cases';
import { testOp } from './harness';

testOp(ropeSuite);
