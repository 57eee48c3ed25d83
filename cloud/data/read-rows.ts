import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { parse } from 'csv-parse';
import { FerryError, isFerryError, messageOf } from '../../shared/errors.ts';
import type { DataContainer } from '../azure/data-container.ts';
import type { DataBlob } from './find-blobs.ts';

/** The columns that Azure ML's collector put behind the features from 2019 on, of which these are read. */
const correlationColumn = '$aml_dc_correlation_id';
const timestampColumn = '$aml_dc_scoring_timestamp';
const requestColumn = '$aml_request_id';
const reserved = '$aml_';

/** A row as it was collected. */
export interface CollectedRow {
  readonly correlationId: string;
  readonly requestId: string;
  /** ISO 8601, UTC. */
  readonly timestamp: string;
  /** Values of the features, in their order, as they are written. */
  readonly cells: readonly string[];
}

/** The settings of {@link readRows}. */
export interface ReadRowsOptions {
  readonly signal: AbortSignal;
  /** Called once, before the first row, with the names of the features. */
  readonly onFeatures: (names: readonly string[]) => void;
  readonly onRow: (row: CollectedRow) => void;
  readonly onBytes: (bytes: number) => void;
}

/**
 * Reads the rows of a blob as they come, and holds them against what the blob says of itself at the end: who takes rows must be
 * able to give them back.
 * @throws {FerryError} DATA_INCONSISTENT when it is not the CSV of a collector, or not what its metadata says
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 */
export async function readRows(container: DataContainer, blob: DataBlob, options: ReadRowsOptions): Promise<void> {
  const { signal, onFeatures, onRow, onBytes } = options;
  const hash = createHash('sha256');
  let rows = 0;
  let layout: Layout | undefined;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of container.read(blob.name, signal)) {
      hash.update(piece);
      onBytes(piece.byteLength);
      yield piece;
    }
  }
  try {
    await pipeline(counted, parse({ bom: true }), async (records: AsyncIterable<string[]>) => {
      for await (const record of records) {
        if (layout === undefined) {
          layout = layoutOf(record, blob.name);
          onFeatures(layout.features.map((at) => record[at] ?? ''));
          continue;
        }
        rows += 1;
        onRow(rowOf(record, layout));
      }
    });
  } catch (error) {
    signal.throwIfAborted();
    if (isFerryError(error) || !isParseError(error)) throw error;
    throw inconsistent(blob.name, messageOf(error), 'rows of CSV, all as long as the header,');
  }
  const { range } = blob;
  if (range === undefined) return;
  if (rows !== range.rows)
    throw inconsistent(blob.name, `it holds ${rows} rows`, `${range.rows}, as its metadata says,`);
  if (hash.digest('hex') !== range.sha256) {
    throw inconsistent(blob.name, 'its content has another digest', 'the one in its metadata');
  }
}

/** Where the columns are. */
interface Layout {
  readonly features: readonly number[];
  readonly correlation: number;
  readonly timestamp: number;
  readonly request: number;
}

function layoutOf(header: readonly string[], blobName: string): Layout {
  const layout = {
    features: header.flatMap((name, at) => (name.startsWith(reserved) ? [] : [at])),
    correlation: header.indexOf(correlationColumn),
    timestamp: header.indexOf(timestampColumn),
    request: header.indexOf(requestColumn),
  };
  if (layout.correlation >= 0) return layout;
  throw inconsistent(blobName, `it has no column "${correlationColumn}"`, 'the columns of a collector');
}

function rowOf(record: readonly string[], layout: Layout): CollectedRow {
  return {
    correlationId: record[layout.correlation] ?? '',
    requestId: record[layout.request] ?? '',
    timestamp: record[layout.timestamp] ?? '',
    cells: layout.features.map((at) => record[at] ?? ''),
  };
}

function isParseError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('CSV_');
}

function inconsistent(name: string, found: string, wanted: string): FerryError {
  return new FerryError('DATA_INCONSISTENT', `Cannot use the blob "${name}": ${found}, ${wanted} was wanted`);
}
