import { type Clock, systemClock } from '../../shared/clock.ts';
import { isFerryError, messageOf } from '../../shared/errors.ts';
import { isDamage, openExistingBuffer, unusable } from './buffer-file.ts';
import { renderBatch } from './render-batch.ts';
import { Sealing, type SealLimits } from './sealing.ts';
import type { StreamIdentity } from './stream.ts';
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

/** What one drain sent of one stream. */
export interface StreamDrain extends StreamIdentity {
  readonly rows: number;
  readonly blobs: number;
  readonly bytes: number;
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

/** A batch that storage refused, while it took others or might have. */
export interface RefusedBatch {
  readonly name: string;
  readonly reason: string;
  /** Whether it is put aside now, after too many refusals. */
  readonly quarantined: boolean;
}

/** About 10 MB of CSV a file at most; a minute until rows are on their way. */
const sealLimits: SealLimits = { rowsMax: 50_000, bytesMax: 4 * 1024 * 1024, ageMsMax: 60_000 };

/**
 * Sends the rows of a buffer to a destination, oldest first, stream by stream, and deletes what the destination has
 * acknowledged. Ended at any moment, by a failure or a crash, the next drain goes on with the same batch, byte for byte.
 * @returns nothing sent where there is no buffer yet
 * @throws {FerryError} BUFFER_INVALID when the file is no buffer
 * @throws what the destination throws, but STORAGE_REFUSED, which is in the report; rows of acknowledged batches are gone from the buffer by then, all others are there
 * @throws the signal's reason when it is aborted
 */
export async function drainBuffer(options: DrainOptions): Promise<DrainReport> {
  const database = openExistingBuffer(options.databasePath);
  if (database === undefined) return total([], []);
  try {
    const sealing = new Sealing(database);
    const streams: StreamDrain[] = [];
    const refused: RefusedBatch[] = [];
    for (const stream of sealing.streams()) {
      const drained = await drainStream(sealing, stream, { ...options, refused });
      if (drained !== undefined) streams.push(drained);
    }
    if (streams.length > 0) sealing.tidy();
    return total(streams, refused);
  } catch (error) {
    throw isDamage(error) ? unusable(options.databasePath, error) : error;
  } finally {
    database.close();
  }
}

/** Sends what is there now; rows that come in meanwhile wait for the next drain, so that this one ends. */
async function drainStream(
  sealing: Sealing,
  stream: { readonly id: number; readonly lastSeq: number },
  options: DrainOptions & { readonly refused: RefusedBatch[] },
): Promise<StreamDrain | undefined> {
  const { destination, signal, clock = systemClock } = options;
  let drained: StreamDrain | undefined;
  for (let sentSeq = 0; sentSeq < stream.lastSeq;) {
    signal.throwIfAborted();
    const batch = sealing.sealNext(stream.id, {
      limits: sealLimits,
      all: options.seal === 'all',
      nowMs: clock.nowMs(),
    });
    if (batch === undefined) return drained;
    const blob = await renderBatch(sealing, batch);
    const { name, content } = blob;
    try {
      await destination.upload(blob, signal);
    } catch (error) {
      // Anything but a refusal concerns all batches alike: it ends the drain, and the next one goes on here.
      if (!isFerryError(error, 'STORAGE_REFUSED')) throw error;
      const quarantined = sealing.refuse(batch);
      options.refused.push({ name, reason: messageOf(error), quarantined });
      return drained;
    }
    sealing.acknowledge(batch);
    sentSeq = batch.lastSeq;
    const { rows, blobs, bytes } = drained ?? { rows: 0, blobs: 0, bytes: 0 };
    drained = { ...batch.stream, rows: rows + batch.rows, blobs: blobs + 1, bytes: bytes + content.byteLength };
  }
  return drained;
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
