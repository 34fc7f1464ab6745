import type { DeviceReport } from '../../workers/api';
import { studio, toFailure, type Failure } from './studio';

/** The GPU as the worker reports it, and the memory budget that runs are planned against. */
class Device {
  report = $state.raw<DeviceReport | null>(null);
  failure = $state.raw<Failure | null>(null);

  /** Whether training can start at all; unknown counts as no. */
  get canTrain(): boolean {
    return this.report?.status === 'ready' || this.report?.status === 'software';
  }

  async load(): Promise<void> {
    try {
      this.report = await studio.device();
      this.failure = null;
    } catch (thrown) {
      this.failure = toFailure(thrown);
    }
  }

  async setBudget(bytes: number): Promise<void> {
    await studio.setBudget(bytes);
    await this.load();
  }
}

export const device = new Device();

/** The device in one short sentence for the header and the home page. */
export function deviceSentence(report: DeviceReport | null): string {
  if (!report) return 'Looking for a GPU…';
  switch (report.status) {
    case 'ready':
      return 'GPU ready';
    case 'software':
      return 'Software GPU';
    case 'unsupported':
      return 'GPU not usable';
    case 'none':
      return 'No GPU';
  }
}
