/**
 * A small seeded generator (sfc32, Chris Doty-Humphrey's; passes PractRand) whose whole state is four words,
 * so that a checkpoint can hold it and a resumed run draws the same numbers.
 */
export class Random {
  private state: Uint32Array;

  /** `stream` gives independent sequences of one seed: shuffling, initial weights, sampling. */
  constructor(seed: number, stream = 0) {
    this.state = new Uint32Array([seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0, stream >>> 0, 1]);
    for (let i = 0; i < 16; i++) this.u32();
  }

  /** The next 32 random bits. */
  u32(): number {
    const s = this.state;
    const t = (s[0]! + s[1]! + s[3]!) >>> 0;
    s[3] = s[3]! + 1;
    s[0] = s[1]! ^ (s[1]! >>> 9);
    s[1] = s[2]! + (s[2]! << 3);
    s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + t;
    return t;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return ((this.u32() >>> 5) * 2 ** 26 + (this.u32() >>> 6)) / 2 ** 53;
  }

  /** Standard normal (Box-Muller; the second value is dropped so that the state is all there is). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** A whole number in [0, n). */
  below(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Shuffles in place (Fisher-Yates). */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }

  /** The four words a checkpoint keeps. */
  save(): number[] {
    return [...this.state];
  }

  static restore(words: readonly number[]): Random {
    const random = new Random(0);
    random.state = new Uint32Array(words);
    return random;
  }
}
