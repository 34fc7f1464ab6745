import { splitSuite } from '../../src/shaders/split/split.cases';
import { testOp } from './harness';

testOp(splitSuite);
