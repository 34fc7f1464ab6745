import { ExportError } from '../core/errors';
import type { ModelConfig } from '../core/model';
import { trainedOf, type Trained } from '../training/trained';
import type { StudioEnvironment } from './environment';
import { Recent } from './recent';

/** Several runs' adapters answer together; what every weight of a model became is large. */
const MOST_KEPT = 3;

/** What runs have learned, read from their checkpoints. */
export class TrainedShelf {
  private readonly read = new Recent<Trained>(MOST_KEPT);

  constructor(private readonly environment: Pick<StudioEnvironment, 'checkpoints'>) {}

  /** Trained tensors of a run's best or last checkpoint. Throws an ExportError where it has none yet. */
  async load(runId: string, which: 'best' | 'last', config: ModelConfig): Promise<Trained> {
    const checkpoints = this.environment.checkpoints(runId);
    const saved = await checkpoints.list();
    if (saved.length === 0) throw new ExportError('This run has saved nothing yet; let it reach its first checkpoint.');
    return this.read.get(JSON.stringify([runId, which, saved]), async () => trainedOf((await checkpoints.load(which))!.checkpoint, config));
  }

  forget(): void {
    this.read.clear();
  }
}
