import { gatherRowsSuite } from '../../src/shaders/gather-rows/gather-rows.cases';
import { testOp } from './harness';

testOp(gatherRowsSuite);
