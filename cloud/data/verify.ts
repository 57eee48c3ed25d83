import { isFerryError } from '../../shared/errors.ts';
import type { DataContainer } from '../azure/data-container.ts';
import type { DataFilter } from './blob-path.ts';
import { checkRanges } from './check-ranges.ts';
import { type DataBlob, findBlobs } from './find-blobs.ts';
import { readRows } from './read/read-rows.ts';

/** What to verify. */
export interface VerifyOptions {
  /** `<subscription>/<resource group>/<workspace>` */
  readonly scope: string;
  readonly filter: DataFilter;
  /** Whether every blob is read, and not only what it says of itself. */
  readonly content: boolean;
  readonly signal: AbortSignal;
  /** In bytes. */
  readonly onProgress: (done: number, total: number) => void;
}

/** What storage alone tells of the collected rows. */
export interface VerifyReport {
  readonly blobs: number;
  /** Rows that blobs say they hold. */
  readonly rows: number;
  readonly bytes: number;
  /** Whether every blob was read. */
  readonly content: boolean;
  readonly missing: number;
  readonly doubled: number;
  /** Rows that were dropped before the upload, by reason: accounted for. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Rows that storage refused, and that are still where they were collected: accounted for. */
  readonly quarantined: number;
  /** Blobs that say nothing of themselves, such as those of Azure ML's own collector. */
  readonly unchecked: number;
  /** Names of blobs in the folders of collected rows that are none. */
  readonly foreign: readonly string[];
  /** One line for each thing that is wrong. */
  readonly findings: readonly string[];
}

/**
 * Proves from storage alone that nothing is missing and nothing is twice: ranges without gap or overlap, counts, digests, and no
 * content under two names.
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 */
export async function verifyData(container: DataContainer, options: VerifyOptions): Promise<VerifyReport> {
  const { scope, filter, content, signal } = options;
  const { all, selected, foreign } = await findBlobs(container, { scope, filter, signal });
  const ranges = checkRanges(all, selected);
  const copies = findCopies(selected);
  const contents = content ? await checkContents(container, selected, options) : [];
  const sum = (pick: (blob: DataBlob) => number): number => selected.reduce((total, blob) => total + pick(blob), 0);
  return {
    blobs: selected.length,
    rows: sum(({ range }) => range?.rows ?? 0),
    bytes: sum(({ bytes }) => bytes),
    content,
    missing: ranges.missing,
    doubled: ranges.doubled + copies.rows,
    dropped: ranges.dropped,
    quarantined: ranges.quarantined,
    unchecked: sum(({ range }) => Number(range === undefined)),
    foreign,
    findings: [...ranges.findings, ...copies.findings, ...contents],
  };
}

/** Finds content that is there under two names of different buffers: rows carry ids and times, so that none is twice by chance. */
function findCopies(blobs: readonly DataBlob[]): { readonly rows: number; readonly findings: readonly string[] } {
  const first = new Map<string, DataBlob>();
  const findings: string[] = [];
  let rows = 0;
  for (const blob of blobs) {
    const { range, name } = blob;
    if (range === undefined || range.rows === 0) continue;
    const other = first.get(range.sha256);
    if (other === undefined) first.set(range.sha256, blob);
    else if (other.range?.bufferId !== range.bufferId) {
      rows += range.rows;
      findings.push(`${range.rows} rows of "${name}" are in "${other.name}" too, byte for byte`);
    }
  }
  return { rows, findings };
}

async function checkContents(
  container: DataContainer,
  blobs: readonly DataBlob[],
  { signal, onProgress }: VerifyOptions,
): Promise<string[]> {
  const totalBytes = blobs.reduce((total, { bytes }) => total + bytes, 0);
  const findings: string[] = [];
  let doneBytes = 0;
  const sink = {
    signal,
    setFeatures: () => {},
    add: () => {},
    onBytes: (bytes: number) => onProgress((doneBytes += bytes), totalBytes),
  };
  for (const blob of blobs) {
    try {
      await readRows(container, blob, sink);
    } catch (error) {
      if (!isFerryError(error, 'DATA_INCONSISTENT')) throw error;
      findings.push(error.message);
    }
  }
  return findings;
}
