const QUIET_SECONDS = 15;

/** What screen readers hear: polite news at least 15 seconds apart, errors at once. */
class Announcer {
  polite = $state('');
  assertive = $state('');
  private last = -Infinity;
  private waiting: string | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Says it when 15 seconds have passed since the last news; of several waiting ones the newest is said. */
  say(text: string): void {
    this.waiting = text;
    if (this.timer !== undefined) return;
    const wait = Math.max(0, this.last + QUIET_SECONDS * 1000 - performance.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.last = performance.now();
      this.polite = this.waiting ?? '';
      this.waiting = null;
    }, wait);
  }

  alert(text: string): void {
    this.assertive = text;
  }
}

export const announcer = new Announcer();
