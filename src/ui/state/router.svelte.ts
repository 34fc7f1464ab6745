export const STEPS = ['model', 'data', 'settings', 'train', 'try', 'export'] as const;
export type Step = (typeof STEPS)[number];

/** How far a step is, for the rail. */
export type StepState = 'empty' | 'ready' | 'done' | 'problem' | 'running';

export const STEP_NAMES: Record<Step, string> = {
  model: 'Model',
  data: 'Data',
  settings: 'Settings',
  train: 'Train',
  try: 'Try',
  export: 'Export',
};

export type LibraryKind = 'models' | 'datasets' | 'runs' | 'adapters';

export type Route =
  | { screen: 'home' | 'diagnostics' | 'privacy' | 'unknown' }
  | { screen: 'library'; kind: LibraryKind }
  | { screen: 'try'; adapter: string }
  | { screen: 'run'; id: string; step: Step }
  | { screen: 'compare'; runs: string[] }
  | { screen: 'new'; parameters: URLSearchParams };

const LIBRARY: readonly string[] = ['models', 'datasets', 'runs', 'adapters'];

/** Reads a location hash such as `#/run/ab12/train`; anything else is the screen `unknown`. */
export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#/, '').split('?', 2);
  const [first = '', second = '', third = ''] = path.split('/').filter(Boolean).map(decodeURIComponent);
  switch (first) {
    case '':
      return { screen: 'home' };
    case 'diagnostics':
    case 'privacy':
      return { screen: first };
    case 'new':
      return { screen: 'new', parameters: new URLSearchParams(query) };
    case 'compare':
      return { screen: 'compare', runs: (new URLSearchParams(query).get('runs') ?? '').split(',').filter(Boolean).slice(0, 6) };
    case 'library':
      return { screen: 'library', kind: LIBRARY.includes(second) ? (second as LibraryKind) : 'runs' };
    case 'try':
      return second ? { screen: 'try', adapter: second } : { screen: 'unknown' };
    case 'run': {
      const step = STEPS.find((name) => name === third) ?? 'model';
      return second ? { screen: 'run', id: second, step } : { screen: 'unknown' };
    }
    default:
      return { screen: 'unknown' };
  }
}

/** The address of one step of a run or draft. */
export function runHash(id: string, step: Step): string {
  return `#/run/${encodeURIComponent(id)}/${step}`;
}

/** The address where a kept adapter is tried without a run. */
export function tryHash(adapter: string): string {
  return `#/try/${encodeURIComponent(adapter)}`;
}

class Router {
  route = $state.raw<Route>(parseRoute(location.hash));

  constructor() {
    addEventListener('hashchange', () => {
      this.route = parseRoute(location.hash);
    });
  }

  /** Goes to a hash; `replace` leaves no entry behind, for addresses that no longer mean anything. */
  go(hash: string, replace = false): void {
    if (replace) location.replace(hash);
    else location.hash = hash;
  }
}

export const router = new Router();
