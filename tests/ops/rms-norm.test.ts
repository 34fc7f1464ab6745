import { rmsNormSuite } from '../../src/shaders/rms-norm/rms-norm.cases';
import { testOp } from './harness';

testOp(rmsNormSuite);
