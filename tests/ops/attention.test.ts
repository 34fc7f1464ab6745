import { attentionSuite } from '../../src/shaders/attention/attention.cases';
import { testOp } from './harness';

testOp(attentionSuite);
