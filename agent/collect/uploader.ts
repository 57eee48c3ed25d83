import type Database from 'better-sqlite3';
import type { z } from 'zod';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { BatchSender, type RefusedBatch } from './batch-sender.ts';
import { isDamage, openExistingBuffer, unusable } from './buffer-file.ts';
import { drainSettingsSchema } from './collect-settings.ts';
import { Pace } from './pace.ts';
import { Sealing } from './sealing.ts';
import { setAside } from './set-aside.ts';
import { type StreamDrain, StreamTurns } from './stream-turns.ts';
import type { UploadDestination } from './upload-destination.ts';

/** The settings of {@link drainBuffer}. */
export interface DrainOptions {
  readonly databasePath: string;
  readonly destination: UploadDestination;
  /** `all` sends every row that is there; `due` only what is enough for a file or has waited long enough. */
  readonly seal: 'all' | 'due';
  readonly signal: AbortSignal;
  /** @default the machine's clock */
  readonly clock?: Clock;
}

/** What one drain sent. */
export interface DrainReport {
  readonly rows: number;
  readonly blobs: number;
  /** Bytes of the blobs. */
  readonly bytes: number;
  readonly streams: readonly StreamDrain[];
  /** Batches that storage refused this time; each is tried again by the next drain, a few times. */
  readonly refused: readonly RefusedBatch[];
}

/**
 * Sends the rows of a buffer to a destination and deletes what the destination has acknowledged. Ended at any moment, by a failure
 * or a crash, the next drain goes on with the same batches, byte for byte.
 *
 * Streams take turns. In each turn a stream that has a backlog sends its newest rows first, then a batch of the backlog, so that
 * what is fresh does not wait for what is old.
 * @returns nothing sent where there is no buffer yet
 * @throws {FerryError} BUFFER_INVALID when the file is no buffer; one that is damaged is set aside, for the next drain to find a new one
 * @throws what the destination throws, but STORAGE_REFUSED, which is in the report; rows of acknowledged batches are gone from the buffer by then, all others are there
 * @throws the signal's reason when it is aborted
 */
export async function drainBuffer(options: DrainOptions): Promise<DrainReport> {
  const { databasePath, destination, signal, clock = systemClock } = options;
  const database = openExistingBuffer(databasePath);
  if (database === undefined) return total([], []);
  try {
    const sealing = new Sealing(database);
    const { order, bytesPerSecondMax } = drainSettingsIn(database);
    const sender = new BatchSender({ sealing, destination, pace: new Pace(bytesPerSecondMax, clock), signal });
    const now = (): number => clock.nowMs();
    let turning = sealing
      .streams()
      .map((stream) => new StreamTurns(stream, { sealing, sender, order, all: options.seal === 'all', now }));
    const streams = turning;
    while (turning.length > 0) {
      const more: StreamTurns[] = [];
      for (const stream of turning) if (await stream.turn()) more.push(stream);
      turning = more;
    }
    if (streams.some(({ sent }) => sent !== undefined)) sealing.tidy();
    return total(
      streams.flatMap(({ sent }) => sent ?? []),
      sender.refused,
    );
  } catch (error) {
    if (!isDamage(error)) throw error;
    database.close();
    setAside(databasePath, clock.nowMs());
    throw unusable(databasePath, error);
  } finally {
    database.close();
  }
}

/** What the collecting side has left in the buffer of how it is to be drained. */
function drainSettingsIn(database: Database.Database): z.output<typeof drainSettingsSchema> {
  const text = database.prepare<[], string>('SELECT drain FROM buffer').pluck().get();
  return drainSettingsSchema.parse(JSON.parse(text ?? '{}'));
}

function total(streams: readonly StreamDrain[], refused: readonly RefusedBatch[]): DrainReport {
  const sum = (pick: (stream: StreamDrain) => number): number => streams.reduce((all, stream) => all + pick(stream), 0);
  return {
    rows: sum(({ rows }) => rows),
    blobs: sum(({ blobs }) => blobs),
    bytes: sum(({ bytes }) => bytes),
    streams,
    refused,
  };
}
