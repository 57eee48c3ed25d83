import type { ReportedLedgers } from '../shared/collect/reported-ledger.ts';
import type { Ledger } from './collect/ledger.ts';

/** Streams of one buffer that are reported, the newest: the hub takes 32 KB of a device in all. */
const streamsMax = 20;

/** What modules have collected and what became of it, as it was when their buffers were last drained. */
export class CollectedLedgers {
  readonly #ledgers = new Map<string, ReportedLedgers[string]>();

  /** All of them by module, as they are reported. */
  get all(): ReportedLedgers {
    return Object.fromEntries(this.#ledgers);
  }

  /**
   * Reads the ledger of a module's buffer; one that cannot be read stays as it was.
   * @param databasePath of its buffer
   */
  async read(module: string, databasePath: string): Promise<void> {
    // Loaded when there is first a module that may collect: SQLite is a native library.
    const { readLedger } = await import('./collect/ledger.ts');
    this.note(module, readLedger(databasePath));
  }

  /** Takes the ledger of a module's buffer; an empty one leaves what there is. */
  note(module: string, { bufferedBytes, damaged, streams }: Ledger): void {
    if (streams.length === 0 && damaged.length === 0) return;
    const reported = streams.slice(-streamsMax).map(({ workspace: _workspace, ...stream }) => stream);
    this.#ledgers.set(module, {
      bufferedBytes,
      damaged: damaged.length,
      streams: Object.fromEntries(reported.entries()),
    });
  }
}
