import type { ByteSource } from '../core/bytes';
import type { OnProgress } from '../core/progress';
import type { Gpu } from '../runtime/device';
import type { StorageEstimate } from '../storage/browser';
import type { CheckpointStore } from '../storage/checkpoints';
import type { FileStore } from '../storage/files';
import type { Connection } from '../storage/hub';
import type { Release } from '../storage/lock';
import type { RunStore } from '../storage/runs';

/** What the studio stands on: the browser's stores in a worker, folders or memory in a test. */
export interface StudioEnvironment {
  /** Whether the platform has WebGPU at all, with or without a device. */
  hasWebGpu: boolean;
  /** A device; asked for again after one was lost. Throws a DeviceError where there is none. */
  openGpu(): Promise<Gpu>;
  /** Models and data sets. */
  files: FileStore;
  runs: RunStore;
  checkpoints(run: string): CheckpointStore;
  /** A file of the demo, as the page's own site serves it. */
  demoFile(name: string, options: { onProgress?: OnProgress; signal?: AbortSignal }): Promise<ByteSource>;
  hub: Connection;
  /** Another server that speaks the hub's URLs; left out: the hub's own. */
  hubEndpoint?: string;
  /** Held by whoever trains: one GPU, one training at a time, whatever the number of tabs. */
  lock: { take(): Promise<Release | null>; isHeld(): Promise<boolean> };
  estimate(): Promise<StorageEstimate>;
  deleteEverything(): Promise<unknown>;
}
