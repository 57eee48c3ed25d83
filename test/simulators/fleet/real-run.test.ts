import { expect, test } from 'vitest';
import { runReally } from '../../../simulators/fleet/real-run.ts';

test(
  'runReally() has light devices connect by MQTT, converge, and send rows through the hub',
  { timeout: 90_000 },
  async () => {
    const said: string[] = [];
    const report = await runReally(
      { devices: 8, seed: 2, virtual: false, durationMs: 50_000, deployments: 1, failingShare: 0 },
      (text) => said.push(text),
    );
    expect(report).toMatchObject({
      mode: 'real',
      onRightVersion: 8,
      wrongVersion: [],
      ledgers: { equal: 8, unequal: [] },
    });
    expect(report.deployments[0]).toMatchObject({ id: 'fleet-1', converged: 8 });
    const { uploaded, stored, lost } = report.rows;
    expect(uploaded).toBeGreaterThan(0);
    expect(stored).toBeGreaterThanOrEqual(uploaded);
    expect(lost).toBe(0);
    expect(report.hub.connections).toBeGreaterThanOrEqual(8);
    expect(said.some((text) => text.endsWith('of 8 devices'))).toBe(true);
  },
);
