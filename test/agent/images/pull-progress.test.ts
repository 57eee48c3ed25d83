import { expect, test } from 'vitest';
import { pullProgress } from '../../../agent/images/pull-progress.ts';
import { Reporting } from '../../../agent/reporting.ts';
import type { JsonObject } from '../../../agent/report.ts';

const image = 'registry.example/digits:1';

test.each([
  [0, 1000, 0],
  [99, 1000, 0],
  [100, 1000, 10],
  [999, 1000, 90],
  [1000, 1000, 100],
  [1200, 1000, 100],
  [0, 0, 100],
])('pullProgress() of %i bytes of %i is %i %%', (gotBytes, totalBytes, percent) => {
  expect(pullProgress([{ image, gotBytes, totalBytes }])).toEqual([{ image, percent, totalBytes }]);
});

test('Reporting tells of a pull of a thousand pieces in eleven reports that differ, and that it is over', () => {
  const reports = new Set<string>();
  let gotBytes = 0;
  let last: JsonObject = {};
  const reporting = new Reporting({
    agentStartedAt: '2026-01-01T00:00:00Z',
    agentVersion: '1',
    pulls: () => (gotBytes > 1000 ? [] : [{ image, gotBytes, totalBytes: 1000 }]),
    facts: () => ({}),
    send: (report) => {
      last = report;
      reports.add(JSON.stringify(report));
    },
  });
  const status = { code: 200, description: '' } as const;
  for (; gotBytes <= 1000; gotBytes += 1) {
    reporting.noteLook({ lastDesiredVersion: 1, status, desired: undefined, containers: [], observed: new Map() });
  }
  expect(last['pulls']).toEqual([{ image, percent: 100, totalBytes: 1000 }]);
  expect(reports.size).toBe(11);
  reporting.noteLook({ lastDesiredVersion: 1, status, desired: undefined, containers: [], observed: new Map() });
  expect(last['pulls']).toEqual([]);
});
