import { addSuite } from '../../src/shaders/add/add.cases';
import { testOp } from './harness';

testOp(addSuite);
