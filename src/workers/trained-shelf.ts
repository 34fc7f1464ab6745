import { ExportError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import { trainedOf, type Trained } from '../training/trained';
import type { StudioEnvironment } from './environment';

/** What runs have learned, read from their checkpoints. */
export class TrainedShelf {
  private cached: { key: string; trained: Trained } | null = null;

  constructor(private readonly environment: Pick<StudioEnvironment, 'checkpoints'>) {}

  /** Trained tensors of a run's best or last checkpoint. Throws an ExportError where it has none yet. */
  async load(runId: string, which: 'best' | 'last', config: ModelConfig): Promise<Trained> {
    const checkpoints = this.environment.checkpoints(runId);
    const saved = await checkpoints.list();
    if (saved.length === 0) throw new ExportError('This run has saved nothing yet; let it reach its first checkpoint.');
    const key = JSON.stringify([runId, which, saved]);
    if (this.cached?.key !== key) {
      const { checkpoint } = (await checkpoints.load(which))!;
      this.cached = { key, trained: trainedOf(checkpoint, config) };
    }
    return this.cached.trained;
  }

  forget(): void {
    this.cached = null;
  }
}
