import { join } from 'node:path';
import type { Logger } from '../../shared/log.ts';
import { bufferFileName } from '../collect/buffer-file.ts';
import { quotaOf } from '../collect/collect-settings.ts';
import { Collector } from '../collect/collector.ts';
import { type CommitThread, startCommitThread } from '../collect/commit-thread.ts';
import { readLedger, type StreamLedger } from '../collect/ledger.ts';
import type { ScoringSettings } from './settings.ts';

/** Collecting in this process: a collector and the thread that it hands rows to. */
export class Collection {
  readonly collector: Collector;
  readonly #thread: CommitThread;
  readonly #databasePath: string;
  readonly #service: string;

  /** @param entry the program's main module, which the thread starts from */
  constructor(settings: ScoringSettings, { folder, log, entry }: { folder: string; log: Logger; entry: URL }) {
    this.#databasePath = join(folder, bufferFileName);
    this.#service = settings.service;
    this.#thread = startCommitThread({
      entry,
      databasePath: this.#databasePath,
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

  /** Gives what became of all rows of this service; nothing where the buffer cannot be read, which the commit thread tells of. */
  ledger(): readonly StreamLedger[] {
    try {
      return readLedger(this.#databasePath).streams.filter(({ service }) => service === this.#service);
    } catch {
      return [];
    }
  }

  /**
   * Brings the last rows to the disk, and ends.
   * @param timeoutMs how long the last rows get
   * @returns whether they are there
   */
  async close(timeoutMs: number): Promise<boolean> {
    const durable = await this.collector.close(timeoutMs);
    await this.#thread.stop();
    return durable;
  }
}
