import { join } from 'node:path';
import type { Logger } from '../../shared/log.ts';
import { bufferFileName } from '../collect/buffer-file.ts';
import { quotaOf } from '../collect/collect-settings.ts';
import { Collector } from '../collect/collector.ts';
import { type CommitThread, startCommitThread } from '../collect/commit-thread.ts';
import type { ScoringSettings } from './settings.ts';

/** How long the last rows get to reach the disk at the end. */
const commitTimeoutMs = 1_500;

/** Collecting in this process: a collector and the thread that it hands rows to. */
export class Collection {
  readonly collector: Collector;
  readonly #thread: CommitThread;

  /** @param entry the program's main module, which the thread starts from */
  constructor(settings: ScoringSettings, { folder, log, entry }: { folder: string; log: Logger; entry: URL }) {
    this.#thread = startCommitThread({
      entry,
      databasePath: join(folder, bufferFileName),
      quota: quotaOf(settings.collectSettings),
      drain: settings.collectSettings.drain,
      files: settings.collectFiles,
      onFailure: (reason) => log.error({ reason }, 'could not write to the collection buffer; it is tried again'),
    });
    const { workspace, service, collectSettings } = settings;
    this.collector = new Collector({ channel: this.#thread, workspace, service, settings: collectSettings });
  }

  /** Starts collecting where it is on. */
  static start(settings: ScoringSettings, program: { log: Logger; entry: URL }): Collection | undefined {
    const { collectInto } = settings;
    return collectInto === undefined ? undefined : new Collection(settings, { ...program, folder: collectInto });
  }

  /**
   * Brings the last rows to the disk, and ends.
   * @returns whether they are there
   */
  async close(): Promise<boolean> {
    const durable = await this.collector.close(commitTimeoutMs);
    await this.#thread.stop();
    return durable;
  }
}
