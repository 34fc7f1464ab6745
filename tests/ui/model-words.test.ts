import { expect, it } from 'vitest';
import { typesWords } from '../../src/ui/model-words';

it('says how many tensors have which type, the commonest first', () => {
  expect(typesWords({ F16: 29 })).toBe('29 tensors in F16');
  expect(typesWords({ F32: 121, Q4_K: 1170 })).toBe('1,170 tensors in Q4_K, 121 in F32');
  expect(typesWords({ Q8_0: 1 })).toBe('1 tensor in Q8_0');
});
