export type Theme = 'system' | 'light' | 'dark';

const KEY = 'hone.theme';

/** Light, dark, or as the system says; the choice is kept. */
class ThemeChoice {
  choice = $state<Theme>('system');
  /** What the page shows now, whoever decided. */
  shown = $derived.by(() => (this.choice === 'system' ? (this.systemDark ? 'dark' : 'light') : this.choice));
  private systemDark = $state(matchMedia('(prefers-color-scheme: dark)').matches);

  constructor() {
    const kept = localStorage.getItem(KEY);
    if (kept === 'light' || kept === 'dark') this.set(kept);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', (event) => {
      this.systemDark = event.matches;
    });
  }

  set(choice: Theme): void {
    this.choice = choice;
    if (choice === 'system') {
      localStorage.removeItem(KEY);
      delete document.documentElement.dataset.theme;
    } else {
      localStorage.setItem(KEY, choice);
      document.documentElement.dataset.theme = choice;
    }
  }

  toggle(): void {
    this.set(this.shown === 'dark' ? 'light' : 'dark');
  }
}

export const theme = new ThemeChoice();
