import type Database from 'better-sqlite3';
import { readBuffer } from './buffer-file.ts';
import type { DropReason } from './losses.ts';
import { damagedBuffers } from './set-aside.ts';
import type { Designation, StreamIdentity } from './stream.ts';

/** What became of the rows of one stream: `collected = uploaded + buffered + quarantined + the sum of dropped`, always. */
export interface StreamLedger extends StreamIdentity {
  readonly collected: number;
  readonly uploaded: number;
  readonly buffered: number;
  /** Rows of batches that storage refuses. */
  readonly quarantined: number;
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
}

/** What became of all rows that ever came into a buffer. */
export interface Ledger {
  /** Bytes of the rows that wait for upload. */
  readonly bufferedBytes: number;
  readonly streams: readonly StreamLedger[];
  /** Names of buffers that were found damaged and set aside; what they hold is in no figure. */
  readonly damaged: readonly string[];
}

/**
 * Reads the ledger of a buffer, all of it of one moment; an empty one where there is no buffer yet.
 * @throws {FerryError} BUFFER_INVALID when the file is no buffer
 */
export function readLedger(databasePath: string): Ledger {
  const damaged = damagedBuffers(databasePath);
  return { bufferedBytes: 0, streams: [], ...readBuffer(databasePath, ledgerIn), damaged };
}

function ledgerIn(database: Database.Database): Omit<Ledger, 'damaged'> {
  const bufferedBytes = database.prepare<[], number>('SELECT bytes FROM buffer').pluck().get() ?? 0;
  const drops = database.prepare<[], DropRow>('SELECT stream, reason, rows FROM drops').all();
  const streams = database.prepare<[], StreamRow>(streamsQuery).all();
  return {
    bufferedBytes,
    streams: streams.map(({ id, held, ...stream }) => ({
      ...stream,
      buffered: held - stream.quarantined,
      dropped: Object.fromEntries(drops.filter((drop) => drop.stream === id).map(({ reason, rows }) => [reason, rows])),
    })),
  };
}

const streamsQuery = `
  SELECT id, workspace, service, model, version, designation, collected, uploaded,
    coalesce((SELECT sum(rows) FROM blocks WHERE blocks.stream = streams.id), 0) AS held,
    coalesce((SELECT sum(rows) FROM batches WHERE batches.stream = streams.id AND quarantined = 1), 0) AS quarantined
  FROM streams ORDER BY id`;

interface StreamRow {
  readonly id: number;
  readonly workspace: string;
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
  readonly collected: number;
  readonly uploaded: number;
  readonly held: number;
  readonly quarantined: number;
}

interface DropRow {
  readonly stream: number;
  readonly reason: DropReason;
  readonly rows: number;
}
