import { type DataBlob, rangeKey } from './find-blobs.ts';

/** What is wrong with the blobs of a selection, as far as their ranges tell. */
export interface RangeReport {
  /** Rows that have a sequence number and are in no blob. */
  readonly missing: number;
  /** Rows that are in more than one blob. */
  readonly doubled: number;
  /** One line a finding. */
  readonly findings: readonly string[];
  /** Names of blobs that must not be joined with the others: they overlap one before them, or contradict themselves. */
  readonly damaged: ReadonlySet<string>;
}

/**
 * Checks from what blobs say of themselves that nothing is missing and nothing is twice. A gap counts when a blob beside it is
 * selected; sequence numbers begin at 1.
 * @param all in the order of {@link findBlobs}
 */
export function checkRanges(all: readonly DataBlob[], selected: readonly DataBlob[]): RangeReport {
  const wanted = new Set(selected.map(({ name }) => name));
  const findings: string[] = [];
  const damaged = new Set<string>();
  let [missing, doubled] = [0, 0];
  let before: { key: string; lastSeq: number; name: string } | undefined;
  for (const blob of all) {
    const key = rangeKey(blob);
    const { range, name } = blob;
    if (key === undefined || range === undefined) continue;
    const { firstSeq, lastSeq, rows } = range;
    const span = lastSeq - firstSeq + 1;
    if (firstSeq < 1 || span < 1 || rows < 1 || rows > span) {
      damaged.add(name);
      if (wanted.has(name)) findings.push(`"${name}" says that it holds ${rows} rows, from ${firstSeq} to ${lastSeq}`);
      continue;
    }
    const neighbour = before?.key === key ? before : undefined;
    const nextSeq = (neighbour?.lastSeq ?? 0) + 1;
    const matters = wanted.has(name) || (neighbour !== undefined && wanted.has(neighbour.name));
    if (matters && firstSeq > nextSeq) {
      missing += firstSeq - nextSeq;
      findings.push(`rows ${nextSeq} to ${firstSeq - 1} before "${name}" are missing`);
    }
    if (matters && firstSeq < nextSeq) {
      const twice = Math.min(lastSeq, nextSeq - 1) - firstSeq + 1;
      doubled += twice;
      damaged.add(name);
      findings.push(`${twice} rows of "${name}" are in "${neighbour?.name}" too`);
    }
    if (wanted.has(name) && rows < span) {
      missing += span - rows;
      findings.push(`${span - rows} rows within "${name}" are missing`);
    }
    if (lastSeq >= nextSeq) before = { key, lastSeq, name };
  }
  return { missing, doubled, findings, damaged };
}
