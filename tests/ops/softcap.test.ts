import { softcapSuite } from '../../src/shaders/softcap/softcap.cases';
import { testOp } from './harness';

testOp(softcapSuite);
