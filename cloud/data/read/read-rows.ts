import { createHash } from 'node:crypto';
import type { DataContainer } from '../../azure/data-container.ts';
import type { FileKind } from '../blob-path.ts';
import type { DataBlob } from '../find-blobs.ts';
import { type CollectedRow, type RowSink, unusableBlob } from './collected-row.ts';
import { readCsvRows } from './csv-rows.ts';
import { readJsonLinesRows } from './json-lines-rows.ts';

/** The settings of {@link readRows}. */
export interface ReadRowsOptions extends RowSink {
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
}

/**
 * Reads the rows of a blob, and holds them against what the blob says of itself at the end: who takes rows must be able to give
 * them back.
 * @throws {FerryError} DATA_INCONSISTENT when it is not what a collector writes, or not what its metadata says
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 */
export async function readRows(container: DataContainer, blob: DataBlob, options: ReadRowsOptions): Promise<void> {
  const { signal, setFeatures, add, onBytes } = options;
  const hash = createHash('sha256');
  let rows = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of container.read(blob.name, signal)) {
      hash.update(piece);
      onBytes(piece.byteLength);
      yield piece;
    }
  }
  const count = (row: CollectedRow): void => {
    rows += 1;
    add({ ...row, timestamp: timestampText(row.timestamp) });
  };
  try {
    await readers[blob.kind](counted(), blob, { setFeatures, add: count });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  const { range } = blob;
  if (range === undefined) return;
  if (rows !== range.rows) {
    throw unusableBlob(blob.name, `it holds ${rows} rows`, `${range.rows}, as its metadata says,`);
  }
  if (hash.digest('hex') !== range.sha256) {
    throw unusableBlob(blob.name, 'its content has another digest', 'the one in its metadata');
  }
}

/** Writes UTC as Azure ML's later CSV does, whatever the file's own way, so that times compare as texts; what is no time stays. */
function timestampText(text: string): string {
  const [, seconds, fraction = '', zone] = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(.*)$/.exec(text) ?? [];
  if (seconds === undefined || zone === undefined) return text;
  if (/^(Z|\+00:00)?$/.test(zone)) return `${seconds}.${fraction.slice(0, 6).padEnd(6, '0')}+00:00`;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : `${new Date(ms).toISOString().slice(0, -1)}000+00:00`;
}

const readers: Readonly<Record<FileKind, typeof readCsvRows>> = {
  csv: readCsvRows,
  jsonl: readJsonLinesRows,
  parquet: async (content, blob, sink) => {
    const { readParquetRows } = await import('./parquet-rows.ts');
    await readParquetRows(content, blob, sink);
  },
};
