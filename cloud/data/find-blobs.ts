import { z } from 'zod';
import { type TensorType, tensorTypes } from '../../shared/model/signature.ts';
import type { BlobEntry, DataContainer } from '../azure/data-container.ts';
import { type BlobPath, type DataFilter, isInTime, isOfStream, parseBlobPath, pathPrefix } from './blob-path.ts';

/** What a blob says in its metadata of the rows in it. */
const rangeSchema = z.object({
  rows: z.coerce.number().int().nonnegative(),
  firstseq: z.coerce.number().int().nonnegative(),
  lastseq: z.coerce.number().int().nonnegative(),
  bufferid: z.string().min(1),
  dropped: pairs(/^([a-z][a-z-]*):(\d{1,15})$/).transform((found) =>
    Object.fromEntries(found.map(([reason, rows]) => [reason, Number(rows)])),
  ),
  quarantined: pairs(/^(\d{1,15})-(\d{1,15})$/).transform((found) =>
    found.map(([first, last]) => [Number(first), Number(last)] as const),
  ),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

/** Reads a list of pairs with commas between, and none where there is no list. */
function pairs(pattern: RegExp) {
  return z
    .string()
    .default('')
    .transform((text) => (text === '' ? [] : text.split(',')))
    .transform((parts, context) =>
      parts.map((part) => {
        const [, first = '', second = ''] = pattern.exec(part) ?? [];
        if (first === '') context.addIssue(`it is "${part}"`);
        return [first, second] as const;
      }),
    );
}

/** Which rows of which buffer a blob holds. */
export interface RowRange {
  /** Id of the buffer that the rows were in; sequence numbers count within one and one stream, from 1. */
  readonly bufferId: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly rows: number;
  /** Rows of the range that were dropped before the upload, by reason; with those in the blob they are all of it. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Ranges of the stream that had been put aside by then, first and last number. */
  readonly quarantined: readonly (readonly [number, number])[];
  /** Of the blob's content, hexadecimal. */
  readonly sha256: string;
}

/** A blob of collected rows. */
export interface DataBlob extends BlobPath {
  readonly name: string;
  readonly bytes: number;
  /** Changes with the content. */
  readonly etag: string;
  /** Types of the features, where the blob names them. */
  readonly types: readonly TensorType[] | undefined;
  /** Undefined for a blob that says nothing of itself, such as one of Azure ML's own. */
  readonly range: RowRange | undefined;
}

/** The blobs of a filter's streams. */
export interface FoundBlobs {
  /** Names of blobs that are in the folders of the streams and no collected rows. */
  readonly foreign: readonly string[];
  /** Those of the days that are meant. */
  readonly selected: readonly DataBlob[];
  /** Those of all days; neighbours show whether something is missing between. */
  readonly all: readonly DataBlob[];
}

/** Finds the blobs of collected rows, from devices and from the cloud, by stream, buffer and sequence number. */
export async function findBlobs(
  container: DataContainer,
  options: { readonly scope: string; readonly filter: DataFilter; readonly signal: AbortSignal },
): Promise<FoundBlobs> {
  const { scope, filter, signal } = options;
  const prefix = pathPrefix(scope, filter);
  const subscription = scope.slice(0, scope.indexOf('/'));
  const all: DataBlob[] = [];
  const foreign: string[] = [];
  for (const folder of await container.listFolders(signal)) {
    const start = folder === subscription ? prefix : `${folder}/${prefix}`;
    for await (const entry of container.listBlobs(start, signal)) {
      const path = parseBlobPath(entry.name, scope);
      if (path === undefined) {
        // Payloads lie beside the rows that point to them.
        if (!entry.name.includes('/payloads/')) foreign.push(entry.name);
      } else if (isOfStream(path, filter)) all.push(describe(entry, path));
    }
  }
  all.sort(byStreamAndRange);
  return { all, foreign, selected: all.filter((blob) => isInTime(blob, filter)) };
}

/** Names the run of sequence numbers that a range belongs to; undefined where it belongs to none. */
export function rangeKey({ service, model, version, designation, range }: DataBlob): string | undefined {
  return range && JSON.stringify([service, model, version, designation, range.bufferId]);
}

function describe({ name, bytes, etag, metadata }: BlobEntry, path: BlobPath): DataBlob {
  const found = rangeSchema.safeParse(metadata).data;
  const range = found && {
    bufferId: found.bufferid,
    firstSeq: found.firstseq,
    lastSeq: found.lastseq,
    rows: found.rows,
    dropped: found.dropped,
    quarantined: found.quarantined,
    sha256: found.sha256,
  };
  return { ...path, name, bytes, etag, types: typesIn(metadata['types']), range };
}

/** Reads `float32:64,int64`: types of columns in their order, each with how many columns in a row have it. */
function typesIn(text: string | undefined): TensorType[] | undefined {
  const types: TensorType[] = [];
  for (const part of text?.split(',') ?? []) {
    const [name, count = '1'] = part.split(':');
    const type = tensorTypes.find((known) => known === name);
    if (type === undefined || !/^\d{1,5}$/.test(count)) return undefined;
    for (let column = 0; column < Number(count); column += 1) types.push(type);
  }
  return types.length === 0 ? undefined : types;
}

function byStreamAndRange(a: DataBlob, b: DataBlob): number {
  const [keyA, keyB] = [rangeKey(a) ?? '', rangeKey(b) ?? ''];
  if (keyA !== keyB) return keyA < keyB ? -1 : 1;
  const apart = (a.range?.firstSeq ?? 0) - (b.range?.firstSeq ?? 0);
  return apart === 0 ? Number(a.name > b.name) - Number(a.name < b.name) : apart;
}
