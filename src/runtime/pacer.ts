import { orLost, type Gpu } from './device';

/**
 * Cuts a program into command buffers of about `targetMs`, by measured speed, and bounds how many are in
 * flight: the desktop stays smooth, no watchdog kills the device, and the GPU is never left idle.
 */
export class Pacer {
  /** Work (FLOPs and a floor a dispatch) to put into the next command buffer. */
  workPerSubmit = 2e7;
  private inFlight: Promise<void>[] = [];
  private lastDone = 0;

  /**
   * 50 ms keeps a desktop smooth. A software adapter shares no GPU with anyone and no watchdog waits
   * for it, and each submit costs it a flush, so there the target is higher.
   */
  constructor(
    private readonly gpu: Gpu,
    private readonly targetMs = gpu.info.software ? 400 : 50,
  ) {}

  /** Submits; waits while two command buffers are still running. */
  async submit(commands: GPUCommandBuffer, work: number): Promise<void> {
    const { queue } = this.gpu.device;
    const submitted = performance.now();
    queue.submit([commands]);
    this.gpu.counters.submits++;
    const done = queue.onSubmittedWorkDone().then(() => this.measured(submitted, work));
    this.inFlight.push(done);
    if (this.inFlight.length > 2) await orLost(this.gpu, this.inFlight.shift()!);
  }

  /** Waits until everything submitted so far is done. */
  async drain(): Promise<void> {
    await orLost(this.gpu, Promise.all(this.inFlight).then(() => undefined));
    this.inFlight = [];
  }

  private measured(submitted: number, work: number): void {
    const now = performance.now();
    // Queued behind an earlier command buffer, this one began when that one ended.
    const ms = Math.max(now - Math.max(submitted, this.lastDone), 0.1);
    this.lastDone = now;
    const ideal = (work / ms) * this.targetMs;
    // Moves slowly up and quickly down: one overlong submit is worse than ten short ones.
    const next = Math.min(ideal, this.workPerSubmit * 1.5);
    this.workPerSubmit = Math.max(1e6, 0.5 * this.workPerSubmit + 0.5 * next);
  }
}
