import { droppedSuite, dropoutSuite } from '../../src/shaders/dropout/dropout.cases';
import { testOp } from './harness';

testOp(dropoutSuite);
testOp(droppedSuite);
