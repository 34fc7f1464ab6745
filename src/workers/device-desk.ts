import { DeviceError, TrainingError } from '../core/errors';
import { mib, traitsOf, type DeviceTraits, type Gpu } from '../runtime/device';
import type { DeviceReport } from './api';
import type { StudioEnvironment } from './environment';

/** Browsers hide a GPU's memory: what is assumed until a person says otherwise. */
const DEFAULT_BUDGET = { hardware: 4 * 2 ** 30, software: 2 * 2 ** 30 };

/** WebGPU's default limits, for plans made where there is no device. */
const DEFAULT_TRAITS: DeviceTraits = {
  subgroupSize: 0,
  software: false,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
  maxStorageBufferBindingSize: 128 * 2 ** 20,
};

/** The one GPU: opened once, again after it was lost, and lent to training or to chat. */
export class DeviceDesk {
  private opening: Promise<Gpu> | null = null;
  private budgetBytes: number | null = null;
  private readonly clearing: (() => Promise<void>)[] = [];
  /** True while a run has the GPU, paused or not. */
  private training = false;

  constructor(private readonly environment: Pick<StudioEnvironment, 'hasWebGpu' | 'openGpu'>) {}

  /** The device. Throws a DeviceError where there is none. */
  gpu(): Promise<Gpu> {
    this.opening ??= this.open();
    return this.opening;
  }

  async report(): Promise<DeviceReport> {
    const nothing = { name: '', features: [], maxBufferSize: 0, maxStorageBufferBindingSize: 0, budget: await this.budget() };
    try {
      const gpu = await this.gpu();
      const { vendor, architecture, description, software } = gpu.info;
      return {
        status: software ? 'software' : 'ready',
        message: software
          ? 'Training runs on the processor here, about 100 times slower than on a graphics card. Turn on hardware acceleration, or keep to small models.'
          : `Ready to train; single buffers may have ${mib(gpu.limits.maxBufferSize)}.`,
        name: [vendor, architecture, description].filter(Boolean).join(' '),
        features: [...gpu.features],
        maxBufferSize: gpu.limits.maxBufferSize,
        maxStorageBufferBindingSize: gpu.limits.maxStorageBufferBindingSize,
        budget: await this.budget(),
      };
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      return { ...nothing, status: this.environment.hasWebGpu ? 'none' : 'unsupported', message: error.message };
    }
  }

  /** Memory that runs are planned against, bytes. */
  async budget(): Promise<number> {
    if (this.budgetBytes !== null) return this.budgetBytes;
    return (await this.traits()).software ? DEFAULT_BUDGET.software : DEFAULT_BUDGET.hardware;
  }

  setBudget(bytes: number): void {
    if (!(bytes > 0 && Number.isFinite(bytes))) throw new DeviceError(`The memory budget is ${bytes}; give a number of bytes above 0.`);
    this.budgetBytes = bytes;
  }

  /** What kernels are chosen by, also where there is no device to run them. */
  async traits(): Promise<DeviceTraits> {
    try {
      return traitsOf(await this.gpu());
    } catch (error) {
      if (error instanceof DeviceError) return DEFAULT_TRAITS;
      throw error;
    }
  }

  /** Calls `clear` whenever training is about to take the GPU. */
  onTraining(clear: () => Promise<void>): void {
    this.clearing.push(clear);
  }

  /** Gives the GPU to training, once all others have let go of it. */
  async lendToTraining(): Promise<Gpu> {
    if (this.training) throw new TrainingError('A run is training already; stop it before another one starts.');
    this.training = true;
    try {
      for (const clear of this.clearing) await clear();
      return await this.gpu();
    } catch (error) {
      this.training = false;
      throw error;
    }
  }

  /** Ends what `lendToTraining` began. */
  giveBack(): void {
    this.training = false;
  }

  /** The GPU for answers. Throws a DeviceError while a run has it. */
  async lendToChat(): Promise<Gpu> {
    if (this.training) throw new DeviceError('The GPU is training; stop the run or wait for its end, then try the model.');
    return this.gpu();
  }

  private async open(): Promise<Gpu> {
    try {
      const gpu = await this.environment.openGpu();
      void gpu.lost.then(() => (this.opening = null));
      return gpu;
    } catch (error) {
      this.opening = null;
      throw error;
    }
  }
}
