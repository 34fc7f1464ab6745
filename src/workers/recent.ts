/** The last few values by key; two that ask at once share one computation, and a failed one is asked anew. */
export class Recent<T> {
  private readonly values = new Map<string, Promise<T>>();
  constructor(private readonly most: number) {}

  get(key: string, compute: () => Promise<T>): Promise<T> {
    const found = this.values.get(key);
    const value = found ?? compute();
    this.values.delete(key);
    this.values.set(key, value);
    if (!found) value.catch(() => this.values.get(key) === value && this.values.delete(key));
    for (const old of this.values.keys()) if (this.values.size > this.most) this.values.delete(old);
    return value;
  }

  set(key: string, value: T): void {
    this.values.delete(key);
    void this.get(key, () => Promise.resolve(value));
  }

  clear(): void {
    this.values.clear();
  }
}
