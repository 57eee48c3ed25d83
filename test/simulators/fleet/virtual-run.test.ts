import { expect, test } from 'vitest';
import type { FleetOptions } from '../../../simulators/fleet/options.ts';
import { runVirtually } from '../../../simulators/fleet/virtual-run.ts';

const hourMs = 3_600_000;
const small: FleetOptions = {
  devices: 6,
  seed: 4,
  virtual: true,
  durationMs: 2 * hourMs,
  deployments: 2,
  failingShare: 0.2,
};
const timeout = 60_000;

const run = (changes: Partial<FleetOptions> = {}) => runVirtually({ ...small, ...changes }, () => undefined);

test(
  'runVirtually() gives the same report for the same seed, to the byte, and another for another',
  { timeout },
  async () => {
    const [first, again, other] = await Promise.all([run(), run(), run({ seed: 5 })]);
    expect(JSON.stringify(again)).toBe(JSON.stringify(first));
    expect(JSON.stringify({ ...other, seed: 4 })).not.toBe(JSON.stringify(first));
  },
);

test(
  'runVirtually() brings all devices to the last deployment over troubles of all kinds, and loses no row',
  { timeout },
  async () => {
    const report = await run({ devices: 9, deployments: 3, durationMs: 6 * hourMs, failingShare: 0.3 });
    expect(report).toMatchObject({ onRightVersion: 9, wrongVersion: [], ledgers: { equal: 9, unequal: [] } });
    expect(report.deployments.map(({ id }) => id)).toEqual(['fleet-1', 'fleet-2', 'fleet-3']);
    const { collected, uploaded, buffered, dropped, stored, lost } = report.rows;
    expect(collected).toBe(uploaded + buffered + dropped);
    expect(stored).toBeGreaterThanOrEqual(uploaded);
    expect(lost).toBe(0);
    expect(uploaded).toBeGreaterThan(500);
    // It has not been an easy life.
    expect(report.troubles.crashes).toBeGreaterThan(10);
    expect(report.troubles.powerCuts).toBeGreaterThan(0);
    expect(report.retries.connections).toBeGreaterThan(50);
    expect(report.retries.messages).toBeGreaterThan(0);
  },
);

test('runVirtually() deploys again to devices whose modules crashed while they proved it', { timeout }, async () => {
  const crashing = { devices: 9, seed: 2, deployments: 3, failingShare: 0.3 };
  const report = await run(crashing);
  expect(report.deployedAgain).toBe(2);
  expect(report).toMatchObject({ onRightVersion: 9, wrongVersion: [], ledgers: { equal: 9 } });
  expect(report.deployments.at(-1)).toMatchObject({ id: 'fleet-3', converged: 9 });
});

test.each([
  ['a long outage of the hub', 5 * 60_000, 15],
  ['a cut of a moment', 1, 110],
])('runVirtually() spreads the connections after %s', { timeout }, async (_what, forMs, perSecondMax) => {
  const devices = 150;
  const report = await run({
    devices,
    deployments: 1,
    failingShare: 0,
    durationMs: hourMs / 3,
    outage: { atMs: hourMs / 6, forMs },
  });
  expect(report.onRightVersion).toBe(devices);
  // All were cut together, and came back at random over a bound that had grown to a minute, or was still two seconds.
  expect(report.hub.connections).toBeGreaterThanOrEqual(devices * 1.5);
  expect(report.hub.connectionsPerSecondMax).toBeLessThanOrEqual(perSecondMax);
});

test('runVirtually() has devices wait where the hub throttles, and all get there', { timeout }, async () => {
  const report = await run({ devices: 150, deployments: 1, failingShare: 0, durationMs: hourMs / 6, s1Units: 1 });
  expect(report.onRightVersion).toBe(150);
  expect(report.hub.patchesPerSecondMax).toBeLessThanOrEqual(100);
  expect(report.retries.throttled).toBe(
    (report.hub.throttled['twin updates'] ?? 0) + (report.hub.throttled['twin reads'] ?? 0),
  );
  expect(report.retries.throttled).toBeGreaterThan(0);
});
