import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from 'node:zlib';
import {
  type Compressors,
  type FileMetaData,
  parquetMetadata,
  parquetRead,
  parquetSchema,
  type SchemaElement,
} from 'hyparquet';
import { messageOf } from '../../../shared/errors.ts';
import type { TensorType } from '../../../shared/model/signature.ts';
import { type CollectedRow, type Feature, type RowSink, unusableBlob } from './collected-row.ts';
import { float32Text } from './float32-text.ts';

/** A file is read at once: a collector's are some megabytes. */
const fileBytesMax = 512 * 1024 * 1024;

const correlationColumn = '$aml_dc_correlation_id';
const timestampColumn = '$aml_dc_scoring_timestamp';
const requestColumn = '$aml_request_id';
const ownColumns =
  /^\$aml_(dc_correlation_id|dc_scoring_timestamp|dc_boundary|workspace|service_name|model_name|model_version|request_id)$/;

/** A column of one row group. */
type Values = ArrayLike<unknown>;

/**
 * Reads rows of Parquet with the columns of the later CSV.
 * @param types of the features, where the blob names them
 * @throws {FerryError} DATA_INCONSISTENT when it is no such file
 */
export async function readParquetRows(
  content: AsyncIterable<Uint8Array>,
  blob: { readonly name: string; readonly types: readonly TensorType[] | undefined },
  sink: RowSink,
): Promise<void> {
  const file = await bytesOf(content, blob.name);
  let metadata: FileMetaData;
  try {
    metadata = parquetMetadata(file);
  } catch (error) {
    throw unusableBlob(blob.name, messageOf(error), 'a Parquet file');
  }
  const columns = parquetSchema(metadata).children.map(({ element }) => element);
  if (!columns.some(({ name }) => name === correlationColumn)) {
    throw unusableBlob(blob.name, `it has no column "${correlationColumn}"`, "the columns of Azure ML's collector");
  }
  const own = columns.filter(({ name }) => !ownColumns.test(name));
  const types = blob.types?.length === own.length ? blob.types : [];
  const features = own.map((element, at): Feature => ({ name: element.name, type: types[at] ?? typeOf(element) }));
  sink.setFeatures(features);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const values = await readGroup(file, { metadata, rowStart, rowEnd, name: blob.name });
    for (const row of rowsOf(values, features, rowEnd - rowStart)) sink.add(row);
    rowStart = rowEnd;
  }
}

async function bytesOf(content: AsyncIterable<Uint8Array>, name: string): Promise<ArrayBuffer> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of content) {
    pieces.push(piece);
    length += piece.byteLength;
    if (length > fileBytesMax) throw unusableBlob(name, `it has over ${length} bytes`, `${fileBytesMax} at most`);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces.splice(0)) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes.buffer;
}

async function readGroup(
  file: ArrayBuffer,
  group: { readonly metadata: FileMetaData; readonly rowStart: number; readonly rowEnd: number; readonly name: string },
): Promise<ReadonlyMap<string, Values>> {
  const { metadata, rowStart, rowEnd, name } = group;
  const values = new Map<string, Values>();
  try {
    await parquetRead({
      file,
      metadata,
      rowStart,
      rowEnd,
      compressors,
      parsers: { stringFromBytes: textIn },
      onChunk: ({ columnName, columnData }) => values.set(columnName, columnData),
    });
  } catch (error) {
    throw unusableBlob(name, messageOf(error), 'Parquet that can be read');
  }
  for (const column of values.values()) {
    if (column.length !== rowEnd - rowStart) {
      throw unusableBlob(name, `a column has ${column.length} values`, `${rowEnd - rowStart}, as many as rows,`);
    }
  }
  return values;
}

function* rowsOf(
  values: ReadonlyMap<string, Values>,
  features: readonly Feature[],
  rows: number,
): Generator<CollectedRow> {
  const [correlations, requests, times] = [correlationColumn, requestColumn, timestampColumn].map(
    (name) => values.get(name) ?? [],
  );
  const columns = features.map(({ name, type }) => ({ type, column: values.get(name) ?? [] }));
  for (let row = 0; row < rows; row += 1) {
    yield {
      correlationId: cellOf(correlations?.[row], 'string') ?? '',
      requestId: cellOf(requests?.[row], 'string') ?? '',
      timestamp: cellOf(times?.[row], undefined) ?? '',
      cells: columns.map(({ type, column }) => cellOf(column[row], type)),
    };
  }
}

function cellOf(value: unknown, type: TensorType | undefined): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number') {
    if (Object.is(value, -0)) return '-0';
    return type === 'float32' && Number.isFinite(value) ? float32Text(value) : String(value);
  }
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'bigint') return String(value);
  if (value instanceof Date) return `${value.toISOString().slice(0, -1)}000+00:00`;
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? String(inner) : inner));
}

/** What a column holds, by Parquet's words; undefined for what no tensor is. */
function typeOf({ type, converted_type: converted, logical_type: logical }: SchemaElement): TensorType | undefined {
  if (type === 'FLOAT') return 'float32';
  if (type === 'DOUBLE') return 'float64';
  if (type === 'BOOLEAN') return 'bool';
  if (converted !== undefined) return convertedTypes[converted];
  if (logical?.type === 'STRING') return 'string';
  if (logical !== undefined) return undefined;
  if (type === 'INT32') return 'int32';
  return type === 'INT64' ? 'int64' : undefined;
}

const convertedTypes: Readonly<Partial<Record<string, TensorType>>> = {
  UTF8: 'string',
  INT_8: 'int8',
  INT_16: 'int16',
  INT_32: 'int32',
  INT_64: 'int64',
  UINT_8: 'uint8',
  UINT_16: 'uint16',
  UINT_32: 'uint32',
  UINT_64: 'uint64',
};

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

function textIn(bytes: Uint8Array | undefined): string | undefined {
  return bytes && utf8.decode(bytes);
}

/** A page that says less of itself than it holds must not fill memory. */
const compressors: Compressors = {
  ZSTD: (input, maxOutputLength) => zstdDecompressSync(input, { maxOutputLength: Math.max(1, maxOutputLength) }),
  GZIP: (input, maxOutputLength) => gunzipSync(input, { maxOutputLength: Math.max(1, maxOutputLength) }),
  BROTLI: (input, maxOutputLength) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, maxOutputLength) }),
};
