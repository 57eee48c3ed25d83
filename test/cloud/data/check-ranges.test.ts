import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkRanges } from '../../../cloud/data/check-ranges.ts';
import type { DataBlob } from '../../../cloud/data/find-blobs.ts';

function blob(
  firstSeq: number,
  lastSeq: number,
  change: {
    rows?: number;
    bufferId?: string;
    dropped?: Record<string, number>;
    quarantined?: [number, number][];
  } = {},
): DataBlob {
  const { dropped = {}, quarantined = [] } = change;
  const { rows = lastSeq - firstSeq + 1, bufferId = 'b' } = change;
  const stream = {
    device: 'gw-1',
    service: 's',
    model: 'm',
    version: 1,
    designation: 'inputs',
    folder: '2026-11-22',
    fromMs: Date.UTC(2026, 10, 22),
    beforeMs: Date.UTC(2026, 10, 23),
    kind: 'csv',
  } as const;
  return {
    ...stream,
    name: `${bufferId}-${firstSeq}-${lastSeq}`,
    bytes: 1,
    etag: '',
    types: undefined,
    range: { bufferId, firstSeq, lastSeq, rows, dropped, quarantined, sha256: '' },
  };
}

const check = (...blobs: DataBlob[]) => checkRanges(blobs, blobs);

test('checkRanges() finds nothing in ranges that follow each other, a buffer at a time', () => {
  expect(check(blob(1, 4), blob(5, 5), blob(6, 90), blob(1, 2, { bufferId: 'c' }))).toEqual({
    missing: 0,
    doubled: 0,
    dropped: {},
    quarantined: 0,
    findings: [],
    damaged: new Set(),
  });
});

test('checkRanges() counts what is missing before, between and within', () => {
  const { missing, findings } = check(blob(3, 4), blob(8, 10, { rows: 2 }));
  expect(missing).toBe(2 + 3 + 1);
  expect(findings).toEqual([
    'rows 1 to 2 before "b-3-4" are missing',
    '1 rows within "b-8-10" are missing',
    'rows 5 to 7 before "b-8-10" are missing',
  ]);
});

test('checkRanges() counts what is twice, and sets the later one aside', () => {
  expect(check(blob(1, 9), blob(2, 4), blob(8, 12))).toMatchObject({
    doubled: 3 + 2,
    damaged: new Set(['b-2-4', 'b-8-12']),
  });
});

test('checkRanges() sets aside what contradicts itself', () => {
  expect(check(blob(1, 2, { rows: 3 }), blob(0, 2), blob(5, 4)).damaged.size).toBe(3);
});

test('checkRanges() takes losses that blobs name as accounted for, of a blob without rows too', () => {
  const told = blob(5, 9, { rows: 0, dropped: { evicted: 4, expired: 1 } });
  expect(check(blob(1, 4, { rows: 3, dropped: { evicted: 1 } }), told)).toMatchObject({
    missing: 0,
    dropped: { evicted: 5, expired: 1 },
    findings: [],
  });
  expect(check(blob(1, 4, { rows: 2, dropped: { evicted: 1 } })).missing).toBe(1);
  expect(check(blob(1, 4, { rows: 4, dropped: { evicted: 1 } })).damaged.size).toBe(1);
});

test('checkRanges() counts ranges that were put aside apart from what is missing', () => {
  const told = blob(11, 12, { quarantined: [[3, 6]] });
  const { missing, quarantined, findings } = check(blob(1, 2), told);
  expect({ missing, quarantined }).toEqual({ missing: 4, quarantined: 4 });
  expect(findings).toEqual(['rows 7 to 10 before "b-11-12" are missing']);
});

test('checkRanges() accounts for every number of ranges without overlap', () => {
  const parts = fc.array(fc.record({ gap: fc.nat(5), rows: fc.integer({ min: 1, max: 9 }), holes: fc.nat(3) }), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(parts, (parts) => {
      let next = 1;
      let held = 0;
      const blobs = parts.map(({ gap, rows, holes }) => {
        const firstSeq = next + gap;
        next = firstSeq + rows + holes;
        held += rows;
        return blob(firstSeq, next - 1, { rows });
      });
      const { missing, doubled } = check(...blobs);
      expect(missing + held).toBe(next - 1);
      expect(doubled).toBe(0);
    }),
    { seed: 20261122 },
  );
});
