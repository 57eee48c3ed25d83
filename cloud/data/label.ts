import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { parse } from 'csv-parse';
import { trailingColumns } from '../../shared/collect/csv-columns.ts';
import { FerryError, isFerryError, messageOf, systemCodeOf } from '../../shared/errors.ts';
import type { DataContainer } from '../azure/data-container.ts';
import { parseBlobPath, pathPrefix } from './blob-path.ts';
import { csvLine } from './csv-line.ts';

/** Which rows are labelled, with what. */
export interface LabelOptions {
  /** `<subscription>/<resource group>/<workspace>` */
  readonly scope: string;
  readonly service: string;
  readonly model: string;
  readonly version: number;
  /** CSV with a column `correlation_id`; every other column is a label. */
  readonly file: string;
  readonly nowMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (rows: number) => void;
}

/** What was labelled. */
export interface LabelReport {
  readonly rows: number;
  /** Labels by name. */
  readonly columns: readonly string[];
  /** Blobs that were written now; fewer than all where the same file was given before. */
  readonly blobs: number;
}

const keyColumn = 'correlation_id';

/** Rows of one blob, as many as a collector puts into one. */
const blobRowsMax = 50_000;

/**
 * Writes what came true of rows that were scored into storage, beside what devices have uploaded: no device has to be reached. Rows
 * of one correlation id are those of its request, in order. The same file given again, after a failure or by mistake, is written once:
 * its content names the blobs.
 * @throws {FerryError} FILE_NOT_FOUND or FILE_UNREADABLE when the file is no CSV with that column
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 */
export async function labelRows(container: DataContainer, options: LabelOptions): Promise<LabelReport> {
  const { scope, service, model, version, onProgress, signal } = options;
  const stream = { service, model, version };
  const bufferId = await idOf(options);
  const there = await findWritten(container, options, bufferId);
  const folder = `${pathPrefix(scope, { ...stream, designation: 'labels' })}${dayFolder(options.nowMs)}`;
  const timestamp = `${new Date(options.nowMs).toISOString().slice(0, -1)}000+00:00`;
  const constants = [timestamp, '1440', scope, stream.service, stream.model, String(stream.version), bufferId];
  let columns: string[] = [];
  let lines: string[] = [];
  let [rows, blobs] = [0, 0];
  const flush = async (): Promise<void> => {
    const firstSeq = rows - lines.length + 1;
    if (lines.length > 0 && !there.has(firstSeq)) {
      const text = csvLine([...columns, ...trailingColumns]) + lines.join('');
      const name = `${folder}/labels-${bufferId}-${firstSeq}-${rows}.csv`;
      await container.write(name, Buffer.from(text), {
        contentType: 'text/csv',
        metadata: metadataOf(text, { bufferId, firstSeq, lastSeq: rows }),
        signal,
      });
      blobs += 1;
    }
    lines = [];
    onProgress(rows);
  };
  await readFile(options, async (record, header) => {
    columns = header.filter((name) => name !== keyColumn);
    const labels = record.filter((_, at) => header[at] !== keyColumn);
    rows += 1;
    lines.push(csvLine([...labels, record[header.indexOf(keyColumn)] ?? '', ...constants]));
    if (lines.length >= blobRowsMax) await flush();
  });
  await flush();
  return { rows, columns, blobs };
}

/** Gives the id that stands for the buffer's: the same for the same labels of the same model. */
async function idOf({ file, scope, service, model, version }: LabelOptions): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([scope, service, model, version]));
  try {
    for await (const piece of createReadStream(file)) hash.update(piece as Buffer);
  } catch (cause) {
    const code = systemCodeOf(cause);
    const found = code === 'ENOENT' ? 'it is not there' : (code ?? 'it cannot be read');
    throw new FerryError(
      code === 'ENOENT' ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE',
      `Cannot read the labels "${file}": ${found}, a CSV file was wanted`,
      { cause },
    );
  }
  return hash.digest('hex').slice(0, 12);
}

/** Finds what an earlier call has written, on whatever day: the first numbers of its ranges. */
async function findWritten(
  container: DataContainer,
  { scope, service, model, version, signal }: LabelOptions,
  bufferId: string,
): Promise<Set<number>> {
  const prefix = pathPrefix(scope, { service, model, version, designation: 'labels' });
  const there = new Set<number>();
  for await (const { name, metadata } of container.listBlobs(prefix, signal)) {
    if (parseBlobPath(name, scope) === undefined || metadata['bufferid'] !== bufferId) continue;
    there.add(Number(metadata['firstseq']));
  }
  return there;
}

async function readFile(
  { file, signal }: LabelOptions,
  take: (record: readonly string[], header: readonly string[]) => Promise<void>,
): Promise<void> {
  let header: string[] | undefined;
  try {
    await pipeline(
      createReadStream(file),
      parse({ bom: true, skip_empty_lines: true }),
      async (records: AsyncIterable<string[]>) => {
        for await (const record of records) {
          if (header === undefined) checkHeader((header = record));
          else if (record[header.indexOf(keyColumn)] === '') throw new Error('a row has no correlation id');
          else await take(record, header);
        }
      },
      { signal },
    );
    if (header === undefined) throw new Error('it is empty');
  } catch (cause) {
    signal.throwIfAborted();
    if (isFerryError(cause)) throw cause;
    throw new FerryError(
      'FILE_UNREADABLE',
      `Cannot read the labels "${file}": ${messageOf(cause)}, CSV with a column "${keyColumn}" and one a label was wanted`,
    );
  }
}

function checkHeader(header: readonly string[]): void {
  if (!header.includes(keyColumn)) throw new Error(`its columns are ${header.map((name) => `"${name}"`).join(', ')}`);
  if (header.length < 2) throw new Error('it has no label');
  if (new Set(header).size < header.length || header.includes('')) throw new Error('a column has no name of its own');
}

function metadataOf(
  text: string,
  range: { readonly bufferId: string; readonly firstSeq: number; readonly lastSeq: number },
): Record<string, string> {
  return {
    rows: String(range.lastSeq - range.firstSeq + 1),
    firstseq: String(range.firstSeq),
    lastseq: String(range.lastSeq),
    bufferid: range.bufferId,
    format: 'csv',
    sha256: createHash('sha256').update(text).digest('hex'),
  };
}

function dayFolder(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10).replaceAll('-', '/');
}
