import type { ModelConfig } from '../../core/model';
import type { Tokenizer } from '../tokenizer/tokenizer';

/** Tokens that end a turn in the families' templates, where a vocabulary has them as special tokens. */
const TURN_ENDS = ['<|im_end|>', '<|eot_id|>', '<|end|>', '<end_of_turn>', '<|endoftext|>', '<|end_of_text|>'];

/** Ids at which an answer is over: the config's, the tokenizer's, and any turn end its vocabulary has. */
export function stopIds(config: ModelConfig, tokenizer: Tokenizer): Set<number> {
  const ids = new Set(config.eos_token_id);
  if (tokenizer.eosId !== null) ids.add(tokenizer.eosId);
  for (const token of TURN_ENDS) {
    const id = tokenizer.tokenId(token);
    if (id !== null && tokenizer.isSpecial(id)) ids.add(id);
  }
  return ids;
}
