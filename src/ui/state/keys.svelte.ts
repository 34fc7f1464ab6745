import { router, runHash, STEPS, type Step } from './router.svelte';
import { training } from './training.svelte';

const KEY = 'hone.keys';

const GO: Record<string, Step> = { m: 'model', d: 'data', s: 'settings', t: 'train', y: 'try', e: 'export' };

/** What the keys do, for the list that `?` opens. */
export const KEY_HELP: [keys: string, what: string][] = [
  ['?', 'Show these keys'],
  ['g then m d s t y e', 'Go to Model, Data, Settings, Train, Try, Export'],
  ['p', 'Pause or resume training'],
  ['[ and ]', 'Previous and next row of the data'],
  ['/', 'Search the settings'],
  ['Esc', 'Stop an answer, close a dialog'],
];

/** Single-key shortcuts. They are silent while something is typed, and can be switched off. */
class Keys {
  enabled = $state(localStorage.getItem(KEY) !== 'off');
  helpOpen = $state(false);
  private afterG = false;

  setEnabled(enabled: boolean): void {
    this.enabled = enabled;
    localStorage.setItem(KEY, enabled ? 'on' : 'off');
  }

  /** Handles a key of the page; keys that a screen owns (`[`, `]`, `/`, Esc) are handled there. */
  press(event: KeyboardEvent): void {
    if (!this.enabled || isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const step = this.afterG ? GO[event.key] : undefined;
    this.afterG = event.key === 'g';
    const { route } = router;
    if (event.key === '?') this.helpOpen = true;
    else if (step && route.screen === 'run' && STEPS.includes(step)) router.go(runHash(route.id, step));
    else if (event.key === 'p' && route.screen === 'run') void pauseOrResume(route.id);
  }
}

async function pauseOrResume(id: string): Promise<void> {
  const live = training.of(id);
  if (live?.status === 'running') await training.pause();
  else if (live?.status === 'paused') await training.resume(id);
}

/** True where a key belongs to a field or an open dialog. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  return target.closest('input, textarea, select, dialog, [contenteditable]') !== null;
}

export const keys = new Keys();
