import type { PrefixSpace } from './offsets';
import type { Vocabulary } from './vocabulary';

export interface TokenOffsets {
  ids: number[];
  /**
   * Token i covers UTF-16 units `starts[i]` to `ends[i]` (exclusive) of the text. Tokens that hold parts of one
   * character all cover that character; added BOS and EOS, and invented leading spaces, cover nothing.
   */
  starts: number[];
  ends: number[];
}

/** What turns text into ids, whatever it is made from. */
export interface Encoder {
  readonly vocabulary: Vocabulary;
  readonly bosId: number | null;
  readonly eosId: number | null;
  /** Ids that `addSpecial` puts around a text. */
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly prefixSpace: PrefixSpace;
  /** True where text is put into Unicode's NFC before it is split. */
  readonly composes: boolean;
  /** `parseSpecial` as in EncodeOptions; `continues` where other text stands before this one. */
  encode(text: string, parseSpecial: boolean, continues?: boolean): number[];
}
