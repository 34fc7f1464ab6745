import type { ByteSource } from '../../src/core/bytes';
import { DeviceError, HubError } from '../../src/core/errors';
import { Checkpoints, MemoryParts, type PartStore } from '../../src/storage/checkpoints';
import { Files } from '../../src/storage/files';
import { Connection } from '../../src/storage/hub';
import { MemoryFiles } from '../../src/storage/memory-files';
import { MemoryRuns } from '../../src/storage/runs';
import type { StudioEnvironment } from '../../src/workers/environment';

/** Files in memory with a limit, as a browser's quota is one. */
class LimitedFiles extends MemoryFiles {
  room: number | null = null;
  override free(): Promise<number | null> {
    return Promise.resolve(this.room);
  }
}

/** A browser's worth of stores that outlives the studios opened over it, as a profile outlives its tabs. */
export class Profile implements StudioEnvironment {
  readonly medium = new LimitedFiles();
  readonly files = new Files(this.medium);
  readonly runs = new MemoryRuns();
  hub = new Connection();
  hubEndpoint?: string;
  hasWebGpu = false;
  openGpu: StudioEnvironment['openGpu'] = () => Promise.reject(new DeviceError('There is no GPU in this test.'));
  /** What the page's site serves under demo/. */
  readonly site = new Map<string, () => ByteSource>();
  private readonly parts = new Map<string, PartStore>();
  private held = false;
  readonly lock = {
    take: () => {
      if (this.held) return Promise.resolve(null);
      this.held = true;
      return Promise.resolve(() => void (this.held = false));
    },
    isHeld: () => Promise.resolve(this.held),
  };
  demoFile = (name: string): Promise<ByteSource> => {
    const file = this.site.get(name);
    return file ? Promise.resolve(file()) : Promise.reject(new HubError(`${name} is missing from this page.`));
  };
  estimate = () => Promise.resolve({ used: 0, quota: 0, persisted: false });
  deleteEverything = async () => {
    for (const { group } of await this.files.list()) await this.files.delete(group);
    for (const { id } of await this.runs.list()) await this.runs.delete(id);
    this.parts.clear();
  };
  checkpoints = (run: string) => {
    const parts = this.parts.get(run) ?? new MemoryParts();
    this.parts.set(run, parts);
    return new Checkpoints(parts);
  };
  /** What the browser does to the lock when a tab is killed. */
  tabKilled(): void {
    this.held = false;
  }
}
