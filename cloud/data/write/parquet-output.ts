import type { FileHandle } from 'node:fs/promises';
import { constants, zstdCompressSync } from 'node:zlib';
import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { FerryError } from '../../../shared/errors.ts';
import type { TensorType } from '../../../shared/model/signature.ts';
import type { JoinedRow } from '../row-stage.ts';
import { type DesignationColumns, featureCells, leadingColumns, type RowOutput } from './row-output.ts';

/** Values of one row group, which is what is held in memory. */
const groupValuesMax = 1_000_000;
const groupRowsMax = 65_536;
const zstdLevel = 1;

/** How a column of a type is written. */
interface ColumnKind {
  readonly element: Omit<SchemaElement, 'name'>;
  /** Never a dictionary for floats, which would take -0 for 0. */
  readonly encoding?: 'BYTE_STREAM_SPLIT';
  /** Reads a value's text; undefined where it is none of that type. */
  readonly read: (text: string) => unknown;
}

interface Column extends ColumnKind {
  readonly name: string;
  data: unknown[];
}

/** Joined rows as Parquet: every column with a type that holds all its values, null for what is missing. */
export class ParquetOutput implements RowOutput {
  readonly #file: FileHandle;
  readonly #designations: readonly DesignationColumns[];
  readonly #columns: readonly Column[];
  readonly #bytes = new ByteWriter();
  readonly #parquet: ParquetWriter;
  readonly #groupRows: number;
  #rows = 0;

  constructor(file: FileHandle, designations: readonly DesignationColumns[]) {
    this.#file = file;
    this.#designations = designations;
    const features = designations.flatMap(({ designation, features: found }) =>
      found.map(({ name, type }) => newColumn(`${designation}.${name}`, kinds[type ?? 'string'])),
    );
    const leading = leadingColumns.map((name) => newColumn(name, name === 'version' ? kinds.int64 : kinds.string));
    this.#columns = [...leading, ...features];
    this.#groupRows = Math.max(1, Math.min(groupRowsMax, Math.floor(groupValuesMax / this.#columns.length)));
    this.#parquet = new ParquetWriter({
      writer: this.#bytes,
      schema: [
        { name: 'root', num_children: this.#columns.length },
        ...this.#columns.map(({ name, element }): SchemaElement => ({ ...element, name, repetition_type: 'OPTIONAL' })),
      ],
      codec: 'ZSTD',
      compressors: { ZSTD: compress },
      statistics: false,
      createdBy: 'modelferry',
    });
  }

  async add(row: JoinedRow): Promise<void> {
    const { correlationId, requestId, timestamp, service, model, version } = row;
    const cells = [correlationId, requestId, timestamp, service, model, String(version)];
    for (const [at, cell] of [...cells, ...featureCells(row, this.#designations)].entries()) {
      const column = this.#columns[at];
      column?.data.push(cell === null ? null : valueOf(column, cell));
    }
    this.#rows += 1;
    if (this.#rows >= this.#groupRows) await this.#endGroup();
  }

  async finish(): Promise<void> {
    if (this.#rows > 0) await this.#endGroup();
    await this.#parquet.finish();
    await this.#write();
  }

  async #endGroup(): Promise<void> {
    const columnData = this.#columns.map(({ name, data, encoding }) => ({ name, data, ...(encoding && { encoding }) }));
    await this.#parquet.write({ columnData, rowGroupSize: this.#rows });
    for (const column of this.#columns) column.data = [];
    this.#rows = 0;
    await this.#write();
  }

  /** Moves to the file what the library has written; it counts on from its own offset. */
  async #write(): Promise<void> {
    await this.#file.writeFile(this.#bytes.getBytes());
    this.#bytes.index = 0;
  }
}

function newColumn(name: string, kind: ColumnKind): Column {
  return { ...kind, name, data: [] };
}

function valueOf({ name, element, read }: Column, text: string): unknown {
  // An empty cell of CSV is a text that is empty, or no number.
  if (text === '' && element.type !== 'BYTE_ARRAY') return null;
  const value = read(text);
  if (value !== undefined) return value;
  throw new FerryError(
    'DATA_INCONSISTENT',
    `Cannot write the column "${name}": it holds ${JSON.stringify(text.slice(0, 100))}, a value of its type was wanted`,
  );
}

const float = (type: 'FLOAT' | 'DOUBLE'): ColumnKind => ({
  element: { type },
  encoding: 'BYTE_STREAM_SPLIT',
  read: (text) => {
    const value = Number(infinities[text] ?? text);
    return Number.isNaN(value) && !/^nan$/i.test(text) ? undefined : value;
  },
});

/** As Python writes them. */
const infinities: Readonly<Partial<Record<string, number>>> = { inf: Infinity, '-inf': -Infinity };

const small = (converted_type?: SchemaElement['converted_type']): ColumnKind => ({
  element: { type: 'INT32', ...(converted_type && { converted_type }) },
  read: (text) => (/^-?\d{1,10}$/.test(text) ? Number(text) : undefined),
});

const large = (converted_type?: SchemaElement['converted_type']): ColumnKind => ({
  element: { type: 'INT64', ...(converted_type && { converted_type }) },
  read: (text) => (/^-?\d{1,20}$/.test(text) ? BigInt(text) : undefined),
});

const kinds: Readonly<Record<TensorType, ColumnKind>> = {
  bool: { element: { type: 'BOOLEAN' }, read: (text) => ({ True: true, False: false })[text] },
  // Few readers know Parquet's own half floats; a float32 holds each of them exactly.
  float16: float('FLOAT'),
  float32: float('FLOAT'),
  float64: float('DOUBLE'),
  int16: small('INT_16'),
  int32: small(),
  int64: large(),
  int8: small('INT_8'),
  string: { element: { type: 'BYTE_ARRAY', converted_type: 'UTF8' }, read: (text) => text },
  uint16: small('UINT_16'),
  uint32: small('UINT_32'),
  uint64: large('UINT_64'),
  uint8: small('UINT_8'),
};

function compress(bytes: Uint8Array): Uint8Array {
  return zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: zstdLevel } });
}
