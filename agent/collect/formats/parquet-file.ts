import { constants, zstdCompressSync } from 'node:zlib';
import type { SchemaElement } from 'hyparquet';
import { type ColumnSource, parquetWriteBuffer } from 'hyparquet-writer';
import type { TensorType } from '../../../shared/model/signature.ts';
import { columnNames } from '../feature-set.ts';
import type { RequestRows } from '../row-block.ts';
import { isText } from '../tensor.ts';
import { boundaryMinutes, type CollectedFile, type FileHead } from './collected-file.ts';

/** Floats whose bytes are apart compress nearly as well at the lowest level as at any. */
const zstdLevel = 1;

/** Rows of one row group; a file has no more. */
const rowGroupRows = 65_536;

/** A column of the file, as long as the file. */
interface Column extends ColumnSource {
  readonly element: Omit<SchemaElement, 'name' | 'repetition_type'>;
}

/**
 * Collected rows as Parquet, with the columns of the later CSV: floats split into streams of their bytes, everything compressed
 * by zstd. Values are kept to the bit.
 */
export class ParquetFile implements CollectedFile {
  readonly #head: FileHead;
  readonly #requests: RequestRows[] = [];
  #rows = 0;

  constructor(head: FileHead) {
    this.#head = head;
  }

  append(request: RequestRows): void {
    this.#requests.push(request);
    this.#rows += request.rows;
  }

  finish(): Uint8Array {
    const columns = [...this.#featureColumns(), ...this.#trailingColumns()];
    const schema: SchemaElement[] = [
      { name: 'root', num_children: columns.length },
      ...columns.map(({ name, element }): SchemaElement => ({ ...element, name, repetition_type: 'REQUIRED' })),
    ];
    const buffer = parquetWriteBuffer({
      schema,
      columnData: columns.map(({ element: _element, ...column }) => column),
      codec: 'ZSTD',
      compressors: { ZSTD: compress },
      statistics: false,
      rowGroupSize: rowGroupRows,
      createdBy: 'modelferry',
    });
    return new Uint8Array(buffer);
  }

  #featureColumns(): Column[] {
    const { features } = this.#head;
    const names = columnNames(features);
    let place = 0;
    return features.flatMap(({ type, width }, feature) =>
      Array.from({ length: width }, (_, column): Column => {
        const values = new (arrayOf[type] ?? Array)(this.#rows) as Writable;
        let row = 0;
        for (const request of this.#requests) {
          const from = request.values[feature] ?? [];
          for (let at = column; at < request.rows * width; at += width) {
            const value = isText(from) ? from[at] : from[at];
            values[row++] = type === 'bool' ? value === 1 : (value ?? '');
          }
        }
        const name = names[place++] ?? '';
        return { name, data: values as ColumnSource['data'], ...columnTypes[type] };
      }),
    );
  }

  #trailingColumns(): Column[] {
    const { stream, folder } = this.#head;
    const constant = <T>(value: T): T[] => Array.from({ length: this.#rows }, () => value);
    const perRequest = <T>(pick: (request: RequestRows) => T): T[] =>
      this.#requests.flatMap((request) => Array.from({ length: request.rows }, () => pick(request)));
    const text = columnTypes.string;
    const integer = columnTypes.int32;
    const time = { element: { type: 'INT64', converted_type: 'TIMESTAMP_MILLIS' } } as const;
    return [
      { name: '$aml_dc_correlation_id', data: perRequest(({ correlationId }) => correlationId), ...text },
      {
        name: '$aml_dc_scoring_timestamp',
        data: perRequest(({ scoredAtMs }) => BigInt(Math.floor(scoredAtMs))),
        ...time,
      },
      { name: '$aml_dc_boundary', data: constant(boundaryMinutes[folder]), ...integer },
      { name: '$aml_workspace', data: constant(stream.workspace), ...text },
      { name: '$aml_service_name', data: constant(stream.service), ...text },
      { name: '$aml_model_name', data: constant(stream.model), ...text },
      { name: '$aml_model_version', data: constant(String(stream.version)), ...text },
      { name: '$aml_request_id', data: perRequest(({ requestId }) => requestId), ...text },
    ];
  }
}

type Writable = { [at: number]: unknown };

/** What a column's values are gathered in; a plain array for all others. */
const arrayOf: Partial<Record<TensorType, new (length: number) => object>> = {
  float16: Float32Array,
  float32: Float32Array,
  float64: Float64Array,
};

type ColumnType = Pick<Column, 'element' | 'encoding'>;

/** Never a dictionary for floats, which would take -0 for 0. */
const float = (type: 'FLOAT' | 'DOUBLE'): ColumnType => ({ element: { type }, encoding: 'BYTE_STREAM_SPLIT' });
const small = (converted_type: SchemaElement['converted_type']): ColumnType => ({
  element: converted_type === undefined ? { type: 'INT32' } : { type: 'INT32', converted_type },
});

const columnTypes: Readonly<Record<TensorType, ColumnType>> = {
  bool: { element: { type: 'BOOLEAN' } },
  // Few readers know Parquet's own half floats; a float32 holds each of them exactly.
  float16: float('FLOAT'),
  float32: float('FLOAT'),
  float64: float('DOUBLE'),
  int16: small('INT_16'),
  int32: small(undefined),
  int64: { element: { type: 'INT64' } },
  int8: small('INT_8'),
  string: { element: { type: 'BYTE_ARRAY', converted_type: 'UTF8' } },
  uint16: small('UINT_16'),
  uint32: small('UINT_32'),
  uint64: { element: { type: 'INT64', converted_type: 'UINT_64' } },
  uint8: small('UINT_8'),
};

function compress(bytes: Uint8Array): Uint8Array {
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: zstdLevel } });
}
