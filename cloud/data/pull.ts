import { open, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { syncFolder } from '../../shared/durable-file.ts';
import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';
import type { DataContainer } from '../azure/data-container.ts';
import { type DataFilter, designations, isInTime, isWhollyInTime } from './blob-path.ts';
import { checkRanges } from './check-ranges.ts';
import { type DataBlob, findBlobs } from './find-blobs.ts';
import type { CollectedRow } from './read/collected-row.ts';
import { readRows } from './read/read-rows.ts';
import { type BlobStage, type JoinedRow, RowStage } from './row-stage.ts';
import { CsvOutput } from './write/csv-output.ts';
import type { DesignationColumns, RowOutput } from './write/row-output.ts';

/** What to pull and where to. */
export interface PullOptions {
  /** `<subscription>/<resource group>/<workspace>` */
  readonly scope: string;
  readonly filter: DataFilter;
  /** File to write; one that is there is replaced. Parquet where its name ends in `.parquet`, else CSV. */
  readonly out: string;
  /** Leaves blobs out that contradict themselves or others, where it would fail otherwise. */
  readonly skipDamaged: boolean;
  readonly signal: AbortSignal;
  /** Told how far reading the blobs is, in bytes, and then writing the file, in rows. */
  readonly onProgress: (step: 'read' | 'write', done: number, total: number) => void;
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
  /** Labels that are not in the file, because later ones of the same correlation id are. */
  readonly superseded: number;
  /** Lines of the file after its header. */
  readonly rows: number;
  readonly blobs: number;
  /** Blobs that an earlier call had read already, which did not come to its end. */
  readonly resumed: number;
  /** Of the blobs. */
  readonly bytes: number;
  /** Rows that were collected and are in no blob, and none says why. */
  readonly missing: number;
  /** Rows that were dropped before the upload, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Rows that storage refused, and that are still where they were collected. */
  readonly quarantined: number;
  /** Rows that are in more than one blob; each is in the file once. */
  readonly doubled: number;
  /** Blobs that were left out. */
  readonly skipped: number;
  /** Blobs that say nothing of themselves, so that nothing could be checked. */
  readonly unchecked: number;
  /** One line for each thing that is missing, twice or wrong. */
  readonly findings: readonly string[];
}

/** Rows that are written between two looks at whether the pull is to end. */
const rowsPerTurn = 1000;

/**
 * Reads collected rows from storage into one file, inputs, predictions and labels of one row in one line. The file appears
 * whole or not at all. Ended at any moment, the same call goes on with the blobs that were not read; the file follows from what
 * is in storage alone.
 * @throws {FerryError} DATA_INCONSISTENT naming every blob that contradicts itself or another one
 * @throws {FerryError} STORAGE_UNREACHABLE or STORAGE_REFUSED
 * @throws {FerryError} IN_USE while another process pulls into the same file
 */
export async function pullData(container: DataContainer, options: PullOptions): Promise<PullReport> {
  const { scope, filter, skipDamaged } = options;
  const out = resolve(options.out);
  using stage = openStage(`${out}.pull`, JSON.stringify([container.address, scope, filter]));
  try {
    const { all, selected, labelsAside } = await findForPull(container, options);
    const ranges = checkRanges(all, selected);
    const findings = [...ranges.findings];
    const sound = selected.filter(({ name }) => !ranges.damaged.has(name));
    const staged = await stageBlobs(container, { sound, labelsAside }, stage, options);
    const { blobs } = staged;
    findings.push(...staged.findings);
    const skipped = selected.length - blobs.length;
    if (skipped > 0 && !skipDamaged) throw damaged(findings);
    const written = await writeFile(stage, { ...options, out });
    const sum = (pick: (blob: DataBlob) => number): number => blobs.reduce((total, blob) => total + pick(blob), 0);
    const report = {
      ...stage.counts(),
      ...written,
      superseded: stage.superseded,
      blobs: blobs.length,
      resumed: staged.resumed,
      bytes: sum(({ bytes }) => bytes),
      missing: ranges.missing,
      dropped: ranges.dropped,
      quarantined: ranges.quarantined,
      doubled: ranges.doubled,
      skipped,
      unchecked: sum(({ range }) => Number(range === undefined)),
      findings,
    };
    stage.discard();
    return report;
  } catch (error) {
    // What was read stays for the next call.
    if (stage.isEmpty) stage.discard();
    throw error;
  }
}

/** Finds the blobs of the filter, and the labels of other times: what came true is known later than what was asked. */
async function findForPull(
  container: DataContainer,
  { scope, filter, signal }: PullOptions,
): Promise<{ all: readonly DataBlob[]; selected: readonly DataBlob[]; labelsAside: readonly DataBlob[] }> {
  const { all, selected } = await findBlobs(container, { scope, filter, signal });
  if (filter.designation !== undefined) return { all, selected, labelsAside: [] };
  // The labels of a device's rows may have come another way, and those of one version hold for all.
  const { version: _version, device: _device, ...wider } = filter;
  const labels = await findBlobs(container, { scope, filter: { ...wider, designation: 'labels' }, signal });
  const names = new Set(selected.map(({ name }) => name));
  return { all, selected, labelsAside: labels.all.filter(({ name }) => !names.has(name)) };
}

async function stageBlobs(
  container: DataContainer,
  { sound, labelsAside }: { readonly sound: readonly DataBlob[]; readonly labelsAside: readonly DataBlob[] },
  stage: RowStage,
  { out, filter, signal, onProgress }: PullOptions,
): Promise<{ blobs: DataBlob[]; findings: string[]; resumed: number }> {
  const all = [...sound, ...labelsAside];
  const totalBytes = all.reduce((total, { bytes }) => total + bytes, 0);
  let doneBytes = 0;
  let resumed = 0;
  const onBytes = (bytes: number): void => onProgress('read', (doneBytes += bytes), totalBytes);
  const kept: DataBlob[] = [];
  const findings: string[] = [];
  stage.retain(all);
  for (const [at, blob] of all.entries()) {
    signal.throwIfAborted();
    const isSound = at < sound.length;
    if (stage.has(blob)) {
      resumed += 1;
      onBytes(blob.bytes);
      if (isSound) kept.push(blob);
      continue;
    }
    const rows = stage.begin(blob);
    try {
      const add = isSound ? rowTaker(blob, filter, rows) : (row: CollectedRow) => rows.add(row, true);
      await readRows(container, blob, { signal, onBytes, setFeatures: rows.setFeatures, add });
      rows.keep();
      if (isSound) kept.push(blob);
    } catch (error) {
      rows.giveUp();
      signal.throwIfAborted();
      if (!isFerryError(error)) throw fileFailure(out, error);
      if (error.code !== 'DATA_INCONSISTENT') throw error;
      findings.push(error.message);
    }
  }
  return { blobs: kept, findings, resumed };
}

/** Leaves rows out that are not of the time that is meant, but labels, which others are joined with. */
function rowTaker(blob: DataBlob, filter: DataFilter, rows: BlobStage): BlobStage['add'] {
  if (isWhollyInTime(blob, filter)) return rows.add;
  const isLabels = blob.designation === 'labels' && filter.designation === undefined;
  return (row) => {
    const ms = Date.parse(row.timestamp);
    const meant = Number.isNaN(ms) || isInTime({ fromMs: ms, beforeMs: ms + 1 }, filter);
    if (meant || isLabels) rows.add(row, !meant);
  };
}

/** Counts of lines and of what is in them. */
type Written = Record<'joined' | 'labelled' | 'rows', number>;

async function writeFile(stage: RowStage, { out, signal, onProgress }: PullOptions): Promise<Written> {
  const written: Written = { joined: 0, labelled: 0, rows: 0 };
  const counts = stage.counts();
  const total = Math.max(counts.inputs, counts.predictions) + counts.signals;
  const aside = `${out}.part`;
  try {
    stage.join();
    const columns = designations.map((designation) => ({ designation, features: stage.featuresOf(designation) }));
    // Only who holds the stage writes it.
    await using file = await open(aside, 'w');
    const output: RowOutput = await openOutput(out, file, columns);
    for (const row of stage.joined()) {
      count(written, row);
      await output.add(row);
      if (written.rows % rowsPerTurn > 0) continue;
      await nextTurn();
      signal.throwIfAborted();
      onProgress('write', written.rows, Math.max(total, written.rows));
    }
    await output.finish();
    await file.sync();
    await rename(aside, out);
  } catch (error) {
    await rm(aside, { force: true });
    signal.throwIfAborted();
    throw isFerryError(error) ? error : fileFailure(out, error);
  }
  await syncFolder(dirname(out));
  return written;
}

async function openOutput(
  out: string,
  file: Awaited<ReturnType<typeof open>>,
  columns: readonly DesignationColumns[],
): Promise<RowOutput> {
  if (!out.endsWith('.parquet')) return new CsvOutput(file, columns);
  const { ParquetOutput } = await import('./write/parquet-output.ts');
  return new ParquetOutput(file, columns);
}

function count(counts: Written, { cells }: JoinedRow): void {
  counts.rows += 1;
  if (cells.inputs !== undefined && cells.predictions !== undefined) counts.joined += 1;
  if (cells.labels !== undefined && Object.keys(cells).length > 1) counts.labelled += 1;
}

function openStage(path: string, identity: string): RowStage {
  try {
    return new RowStage(path, identity);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'SQLITE_BUSY') {
      throw new FerryError('IN_USE', `Cannot pull: another process writes "${path}", one at a time was wanted`);
    }
    throw new FerryError(
      'FILE_UNWRITABLE',
      `Cannot write "${path}": it cannot be made, a folder that may be written to was wanted`,
      { cause },
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
