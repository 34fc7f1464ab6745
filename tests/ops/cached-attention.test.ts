import { cachedAttentionSuite } from '../../src/shaders/cached-attention/cached-attention.cases';
import { testOp } from './harness';

testOp(cachedAttentionSuite);
