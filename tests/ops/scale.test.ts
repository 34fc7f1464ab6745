import { scaleSuite } from '../../src/shaders/scale/scale.cases';
import { testOp } from './harness';

testOp(scaleSuite);
