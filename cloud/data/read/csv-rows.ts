import { pipeline } from 'node:stream/promises';
import { parse } from 'csv-parse';
import { leadingColumns2018, trailingColumns } from '../../../shared/collect/csv-columns.ts';
import { isFerryError, messageOf } from '../../../shared/errors.ts';
import type { TensorType } from '../../../shared/model/signature.ts';
import { type RowSink, unusableBlob } from './collected-row.ts';

/** A record is never larger: a file that is no CSV must not fill memory. */
const recordCharactersMax = 64 * 1024 * 1024;

/** Where the columns of a file are. */
interface Layout {
  /** Place of the first feature, and of the first column behind the last one. */
  readonly features: readonly [number, number];
  readonly correlation: number;
  readonly timestamp: number;
  readonly request: number;
}

/**
 * Reads rows of CSV with Azure ML's columns, of either set.
 * @param types of the features, where the blob names them
 * @throws {FerryError} DATA_INCONSISTENT when it is no such file
 */
export async function readCsvRows(
  content: AsyncIterable<Uint8Array>,
  blob: { readonly name: string; readonly types: readonly TensorType[] | undefined },
  sink: RowSink,
): Promise<void> {
  let layout: Layout | undefined;
  const take = async (records: AsyncIterable<string[]>): Promise<void> => {
    for await (const record of records) {
      if (layout === undefined) {
        layout = layoutOf(record, blob.name);
        const names = record.slice(...layout.features);
        const types = blob.types?.length === names.length ? blob.types : [];
        sink.setFeatures(names.map((name, at) => ({ name, type: types[at] })));
      } else {
        sink.add({
          correlationId: record[layout.correlation] ?? '',
          requestId: record[layout.request] ?? '',
          timestamp: record[layout.timestamp] ?? '',
          cells: record.slice(...layout.features),
        });
      }
    }
  };
  try {
    await pipeline(content, parse({ bom: true, max_record_size: recordCharactersMax }), take);
  } catch (error) {
    if (isFerryError(error) || !isParseError(error)) throw error;
    throw unusableBlob(blob.name, messageOf(error), 'rows of CSV, all as long as the header,');
  }
  if (layout === undefined) throw unusableBlob(blob.name, 'it is empty', "the columns of Azure ML's collector");
}

/** Finds the columns by their places: a feature may have any name. */
function layoutOf(header: readonly string[], blobName: string): Layout {
  if (leadingColumns2018.every((name, at) => header[at] === name)) {
    return { features: [leadingColumns2018.length, header.length], timestamp: 0, correlation: 1, request: 2 };
  }
  // Some of the later columns came with later releases of Azure ML's collector; the first one was always there.
  const first = header.lastIndexOf('$aml_dc_correlation_id');
  const behind = header.slice(first);
  if (first < 0 || !behind.every((name) => trailingColumns.includes(name))) {
    throw unusableBlob(blobName, 'it has no such header', "the columns of Azure ML's collector");
  }
  const place = (name: string): number => (behind.includes(name) ? first + behind.indexOf(name) : -1);
  return {
    features: [0, first],
    correlation: first,
    timestamp: place('$aml_dc_scoring_timestamp'),
    request: place('$aml_request_id'),
  };
}

function isParseError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('CSV_');
}
