import { createWriteStream } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { syncFolder } from '../../shared/durable-file.ts';
import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';
import type { DataContainer } from '../azure/data-container.ts';
import { type DataFilter, type Designation, designations } from './blob-path.ts';
import { checkRanges } from './check-ranges.ts';
import { csvLine } from './csv.ts';
import { type DataBlob, findBlobs } from './find-blobs.ts';
import { readRows } from './read-rows.ts';
import { type JoinedRow, RowStage } from './row-stage.ts';

/** Columns before the features, the same for every row. */
const leadingColumns = ['correlation_id', 'request_id', 'timestamp', 'service', 'model', 'version'];

/** What to pull and where to. */
export interface PullOptions {
  /** `<subscription>/<resource group>/<workspace>` */
  readonly scope: string;
  readonly filter: DataFilter;
  /** File to write; one that is there is replaced. */
  readonly out: string;
  /** Leaves blobs out that contradict themselves or others, where it would fail otherwise. */
  readonly skipDamaged: boolean;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** What was pulled. */
export interface PullReport {
  /** Rows by what they are. */
  readonly inputs: number;
  readonly predictions: number;
  readonly labels: number;
  readonly signals: number;
  /** Rows that have both inputs and predictions. */
  readonly joined: number;
  /** Rows that have labels beside them. */
  readonly labelled: number;
  /** Lines of the file after its header. */
  readonly rows: number;
  readonly blobs: number;
  /** Of the blobs. */
  readonly bytes: number;
  /** Rows that were collected and are in no blob. */
  readonly missing: number;
  /** Rows that are in more than one blob; each is in the file once. */
  readonly doubled: number;
  /** Blobs that were left out. */
  readonly skipped: number;
  /** Blobs that say nothing of themselves, so that nothing could be checked. */
  readonly unchecked: number;
  /** One line for each thing that is missing, twice or wrong. */
  readonly findings: readonly string[];
}

/**
 * Reads collected rows from storage into one CSV file, inputs, predictions and labels of one row in one line. The file appears
 * whole or not at all.
 * @throws {FerryError} DATA_INCONSISTENT naming every blob that contradicts itself or another one
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 */
export async function pullData(container: DataContainer, options: PullOptions): Promise<PullReport> {
  const { scope, filter, signal, skipDamaged } = options;
  const { all, selected } = await findBlobs(container, { scope, filter, signal });
  const ranges = checkRanges(all, selected);
  const findings = [...ranges.findings];
  const sound = selected.filter(({ name }) => !ranges.damaged.has(name));
  const out = resolve(options.out);
  const aside = `${out}.${randomBytes(6).toString('hex')}.tmp`;
  using stage = openStage(`${aside}.db`);
  const staged = await stageBlobs(container, sound, stage, options);
  findings.push(...staged.findings);
  const skipped = selected.length - staged.blobs.length;
  if (skipped > 0 && !skipDamaged) throw damaged(findings);
  const written = await writeFile(stage, { aside, out, signal });
  const sum = (pick: (blob: DataBlob) => number): number => staged.blobs.reduce((total, blob) => total + pick(blob), 0);
  return {
    ...stage.counts(),
    ...written,
    blobs: staged.blobs.length,
    bytes: sum(({ bytes }) => bytes),
    missing: ranges.missing,
    doubled: ranges.doubled,
    skipped,
    unchecked: sum(({ range }) => Number(range === undefined)),
    findings,
  };
}

async function stageBlobs(
  container: DataContainer,
  blobs: readonly DataBlob[],
  stage: RowStage,
  { signal, onProgress }: PullOptions,
): Promise<{ blobs: DataBlob[]; findings: string[] }> {
  const totalBytes = blobs.reduce((total, { bytes }) => total + bytes, 0);
  let doneBytes = 0;
  const onBytes = (bytes: number): void => onProgress((doneBytes += bytes), totalBytes);
  const kept: DataBlob[] = [];
  const findings: string[] = [];
  for (const blob of blobs) {
    const rows = stage.begin(blob);
    try {
      await readRows(container, blob, { signal, onBytes, onFeatures: rows.setFeatures, onRow: rows.add });
      rows.keep();
      kept.push(blob);
    } catch (error) {
      rows.giveUp();
      if (!isFerryError(error, 'DATA_INCONSISTENT')) throw error;
      findings.push(error.message);
    }
  }
  return { blobs: kept, findings };
}

/** Counts of lines and of what is in them. */
type Written = Record<'joined' | 'labelled' | 'rows', number>;

async function writeFile(
  stage: RowStage,
  { aside, out, signal }: { readonly aside: string; readonly out: string; readonly signal: AbortSignal },
): Promise<Written> {
  const counts: Written = { joined: 0, labelled: 0, rows: 0 };
  const columns = designations.map((designation) => [designation, stage.featuresOf(designation)] as const);
  function* lines(): Generator<string> {
    const names = columns.flatMap(([designation, features]) => features.map((feature) => `${designation}.${feature}`));
    yield csvLine([...leadingColumns, ...names]);
    for (const row of stage.joined()) {
      count(counts, row);
      yield csvLine(cellsOf(row, columns));
    }
  }
  try {
    await pipeline(lines, createWriteStream(aside, { flags: 'wx' }), { signal });
    await using file = await open(aside, 'r');
    await file.sync();
    await rename(aside, out);
  } catch (error) {
    await rm(aside, { force: true });
    signal.throwIfAborted();
    throw fileFailure(out, error);
  }
  await syncFolder(dirname(out));
  return counts;
}

function count(counts: Written, { cells }: JoinedRow): void {
  counts.rows += 1;
  if (cells.inputs !== undefined && cells.predictions !== undefined) counts.joined += 1;
  if (cells.labels !== undefined && Object.keys(cells).length > 1) counts.labelled += 1;
}

function cellsOf(row: JoinedRow, columns: readonly (readonly [Designation, readonly string[]])[]): string[] {
  const { correlationId, requestId, timestamp, service, model, version } = row;
  const values = columns.flatMap(([designation, names]) => {
    const found = row.cells[designation];
    if (found === undefined) return names.map(() => '');
    // Nearly always a designation has one set of features only.
    if (found.features.length === names.length) return found.values;
    const byName = new Map(found.features.map((name, at) => [name, found.values[at] ?? '']));
    return names.map((name) => byName.get(name) ?? '');
  });
  return [correlationId, requestId, timestamp, service, model, String(version), ...values];
}

function openStage(path: string): RowStage {
  try {
    return new RowStage(path);
  } catch (cause) {
    throw new FerryError(
      'FILE_UNWRITABLE',
      `Cannot write "${path}": it cannot be made, a folder that may be written to was wanted`,
      {
        cause,
      },
    );
  }
}

function fileFailure(path: string, error: unknown): unknown {
  const code = systemCodeOf(error) ?? (error instanceof Error && 'code' in error ? String(error.code) : undefined);
  if (code === undefined) return error;
  if (code === 'ENOSPC' || code === 'SQLITE_FULL') {
    return new FerryError('DISK_FULL', `Cannot write "${path}": no space is left on its disk`, { cause: error });
  }
  return new FerryError('FILE_UNWRITABLE', `Cannot write "${path}": ${code}`, { cause: error });
}

function damaged(findings: readonly string[]): FerryError {
  return new FerryError('DATA_INCONSISTENT', `Cannot join the collected rows: ${findings.join('; ')}`, {
    next: 'Give --skip-damaged to leave those blobs out.',
  });
}
