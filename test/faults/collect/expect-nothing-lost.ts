import { join } from 'node:path';
import { expect } from 'vitest';
import { bufferFileName, openExistingBuffer } from '../../../agent/collect/buffer-file.ts';
import type { Collector } from '../../../agent/collect/collector.ts';
import { type Ledger, readLedger } from '../../../agent/collect/ledger.ts';
import { Sealing } from '../../../agent/collect/sealing.ts';
import type { Designation } from '../../../agent/collect/stream.ts';
import { drainBuffer } from '../../../agent/collect/uploader.ts';
import { type StoredBlob, storeIn } from '../../agent/collect/collect-rig.ts';

/** What a program says of its progress, one JSON document a line. */
export type Said = { readonly counted: number } | { readonly stored: StoredBlob };

/** One row that holds its number, which is its sequence number too where all rows of a stream are made so. */
export function numberedRow(
  number: number,
  designation: Designation,
  scoredAtMs: number,
): Parameters<Collector['collect']>[0] {
  const tensors = [{ name: 'n', type: 'int32' as const, shape: [1], data: Int32Array.of(number) }];
  const ids = { correlationId: `c-${number}`, requestId: 'r' };
  return { model: 'm', version: 1, designation, tensors, ...ids, scoredAtMs };
}

/** Expects of every stream that what was collected is somewhere, once, by name. */
export function expectBalanced({ streams }: Ledger): void {
  for (const { designation, collected, uploaded, buffered, quarantined, dropped } of streams) {
    const lost = Object.values(dropped).reduce((sum, rows) => sum + rows, 0);
    expect({ designation, collected }).toEqual({ designation, collected: uploaded + buffered + quarantined + lost });
  }
}

/**
 * Opens a buffer as it was found, sends what is left of it, and expects of numbered rows that storage and buffer together have each
 * that was counted once, or a reason why not.
 * @param stored what storage had at the crash
 */
export async function expectNothingLost(
  folder: string,
  { counted, stored }: { readonly counted: number; readonly stored: ReadonlyMap<string, StoredBlob> },
): Promise<void> {
  const databasePath = join(folder, bufferFileName);
  const found = readLedger(databasePath);
  expectBalanced(found);
  const database = openExistingBuffer(databasePath);
  if (database !== undefined) {
    expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
    new Sealing(database).release();
    database.close();
  }
  const blobs = new Map(stored);
  const signal = AbortSignal.timeout(10_000);
  await drainBuffer({ databasePath, destination: storeIn(blobs), seal: 'all', signal });
  const left = readLedger(databasePath);
  expectBalanced(left);
  for (const designation of ['inputs', 'predictions'] as const) {
    const own = [...blobs.values()].filter(({ name }) => name.includes(`/${designation}/`));
    const { lastSeq, rows } = expectComplete(own);
    const ledger = left.streams.find((stream) => stream.designation === designation);
    expect(lastSeq).toBe(ledger?.collected ?? 0);
    expect(lastSeq).toBeGreaterThanOrEqual(counted);
    expect({ rows, buffered: 0 }).toEqual({ rows: ledger?.uploaded ?? 0, buffered: ledger?.buffered ?? 0 });
  }
}

/** Expects from blobs alone that their ranges leave nothing out and hold nothing twice, and that they hold what they say. */
function expectComplete(blobs: readonly StoredBlob[]): { readonly lastSeq: number; readonly rows: number } {
  const ranges = blobs
    .map(({ metadata, text }) => ({
      firstSeq: Number(metadata['firstseq']),
      lastSeq: Number(metadata['lastseq']),
      rows: Number(metadata['rows']),
      dropped: [...(metadata['dropped'] ?? '').matchAll(/:(\d+)/g)].reduce((sum, [, rows]) => sum + Number(rows), 0),
      numbers: text
        .trimEnd()
        .split('\n')
        .slice(1)
        .map((line) => Number(line.split(',')[0])),
    }))
    .toSorted((left, right) => left.firstSeq - right.firstSeq);
  let nextSeq = 1;
  let rows = 0;
  for (const range of ranges) {
    expect(range.firstSeq).toBe(nextSeq);
    expect(range.rows + range.dropped).toBe(range.lastSeq - range.firstSeq + 1);
    expect(range.numbers.length).toBe(range.rows);
    expect(new Set(range.numbers).size).toBe(range.rows);
    expect(range.numbers.every((number) => number >= range.firstSeq && number <= range.lastSeq)).toBe(true);
    nextSeq = range.lastSeq + 1;
    rows += range.rows;
  }
  return { lastSeq: nextSeq - 1, rows };
}
