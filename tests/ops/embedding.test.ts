import { embeddingSuite } from '../../src/shaders/embedding/embedding.cases';
import { testOp } from './harness';

testOp(embeddingSuite);
