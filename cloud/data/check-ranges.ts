import { type DataBlob, rangeKey, type RowRange } from './find-blobs.ts';

/** What the blobs of a selection say of their rows, as far as their ranges tell. */
export interface RangeReport {
  /** Rows that have a sequence number and are in no blob, and no blob says why. */
  readonly missing: number;
  /** Rows that are in more than one blob. */
  readonly doubled: number;
  /** Rows that were dropped before the upload, by the reason that blobs give. */
  readonly dropped: Readonly<Record<string, number>>;
  /** Rows that were put aside where they were collected, since storage refused them. */
  readonly quarantined: number;
  /** One line for each thing that is missing or twice, or contradicts itself. */
  readonly findings: readonly string[];
  /** Names of blobs that must not be joined with the others: they overlap one before them, or contradict themselves. */
  readonly damaged: ReadonlySet<string>;
}

/** The report in the making. */
interface Draft {
  missing: number;
  doubled: number;
  quarantined: number;
  readonly dropped: Record<string, number>;
  readonly findings: string[];
  readonly damaged: Set<string>;
}

/** The blob before another one of its buffer and stream. */
interface Neighbour {
  readonly name: string;
  readonly lastSeq: number;
}

type RangedBlob = DataBlob & { readonly range: RowRange };

/**
 * Checks from what blobs say of themselves that nothing is missing and nothing is twice. A gap counts when a blob beside it is
 * selected; sequence numbers begin at 1.
 * @param all in the order of `findBlobs()`
 */
export function checkRanges(all: readonly DataBlob[], selected: readonly DataBlob[]): RangeReport {
  const wanted = new Set(selected.map(({ name }) => name));
  const draft: Draft = { missing: 0, doubled: 0, quarantined: 0, dropped: {}, findings: [], damaged: new Set() };
  for (const blobs of runsOf(all)) {
    const asides = blobs.flatMap(({ range }) => range.quarantined);
    let before: Neighbour | undefined;
    for (const blob of blobs) {
      const isWanted = wanted.has(blob.name);
      if (!checkItself(blob, draft, isWanted)) continue;
      if (isWanted || (before !== undefined && wanted.has(before.name))) checkBeside(blob, { before, asides }, draft);
      const { name, range } = blob;
      if (range.lastSeq > (before?.lastSeq ?? 0)) before = { name, lastSeq: range.lastSeq };
    }
  }
  return draft;
}

/** Gives the blobs of each run of sequence numbers, in its order. */
function runsOf(all: readonly DataBlob[]): readonly (readonly RangedBlob[])[] {
  const runs = new Map<string, RangedBlob[]>();
  for (const blob of all) {
    const key = rangeKey(blob);
    if (key === undefined || blob.range === undefined) continue;
    const run = runs.get(key) ?? [];
    run.push({ ...blob, range: blob.range });
    runs.set(key, run);
  }
  return [...runs.values()];
}

/** Adds what a blob says of its own range; false when that cannot be. */
function checkItself({ name, range }: RangedBlob, draft: Draft, isWanted: boolean): boolean {
  const { firstSeq, lastSeq, rows } = range;
  const span = lastSeq - firstSeq + 1;
  const dropped = Object.values(range.dropped).reduce((sum, count) => sum + count, 0);
  if (firstSeq < 1 || span < 1 || rows + dropped < 1 || rows + dropped > span) {
    draft.damaged.add(name);
    const losses = dropped === 0 ? '' : ` and lost ${dropped}`;
    if (isWanted)
      draft.findings.push(`"${name}" says that it holds ${rows} rows${losses}, from ${firstSeq} to ${lastSeq}`);
    return false;
  }
  if (!isWanted) return true;
  for (const [reason, count] of Object.entries(range.dropped)) {
    draft.dropped[reason] = (draft.dropped[reason] ?? 0) + count;
  }
  const missing = span - rows - dropped;
  draft.missing += missing;
  if (missing > 0) draft.findings.push(`${missing} rows within "${name}" are missing`);
  return true;
}

/** Adds what is between a blob and the one before it: a gap or an overlap. */
function checkBeside(
  { name, range: { firstSeq, lastSeq } }: RangedBlob,
  beside: { readonly before: Neighbour | undefined; readonly asides: RowRange['quarantined'] },
  draft: Draft,
): void {
  const { before, asides } = beside;
  const nextSeq = (before?.lastSeq ?? 0) + 1;
  if (firstSeq < nextSeq) {
    const twice = Math.min(lastSeq, nextSeq - 1) - firstSeq + 1;
    draft.doubled += twice;
    draft.damaged.add(name);
    draft.findings.push(`${twice} rows of "${name}" are in "${before?.name}" too`);
    return;
  }
  let from = nextSeq;
  const told = asides.filter(([first, last]) => last >= nextSeq && first < firstSeq).toSorted(([a], [b]) => a - b);
  for (const [first, last] of [...told, [firstSeq, firstSeq] as const]) {
    if (first > from) {
      draft.missing += first - from;
      draft.findings.push(`rows ${from} to ${first - 1} before "${name}" are missing`);
    }
    draft.quarantined += Math.max(0, Math.min(last, firstSeq - 1) - Math.max(first, from) + 1);
    from = Math.max(from, last + 1);
  }
}
