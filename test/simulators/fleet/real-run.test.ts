import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { runReally } from '../../../simulators/fleet/real-run.ts';
import { until } from '../../until.ts';

const options = { seed: 2, virtual: false, durationMs: 50_000, deployments: 1, failingShare: 0 } as const;

test(
  'runReally() has light devices connect by MQTT, converge, and send rows through the hub',
  { timeout: 90_000 },
  async () => {
    const said: string[] = [];
    const report = await runReally({ ...options, devices: 8 }, (text) => said.push(text));
    expect(report).toMatchObject({
      mode: 'real',
      onRightVersion: 8,
      wrongVersion: [],
      ledgers: { equal: 8, unequal: [] },
    });
    expect(report).not.toHaveProperty('realAgents');
    expect(report.deployments[0]).toMatchObject({ id: 'fleet-1', converged: 8 });
    const { uploaded, stored, lost } = report.rows;
    expect(uploaded).toBeGreaterThan(0);
    expect(stored).toBeGreaterThanOrEqual(uploaded);
    expect(lost).toBe(0);
    expect(report.hub.connections).toBeGreaterThanOrEqual(8);
    expect(said.some((text) => text.endsWith('of 8 devices'))).toBe(true);
  },
);

test(
  'runReally() has real agents pull, rehearse and run each version among the light devices, and ends them',
  { timeout: 120_000 },
  async () => {
    const report = await runReally({ ...options, devices: 2, realAgents: 2, deployments: 2 }, () => undefined);
    expect(report).toMatchObject({
      devices: 4,
      onRightVersion: 4,
      realAgents: { devices: 2, onRightVersion: 2 },
      ledgers: { equal: 4, unequal: [] },
      rows: { lost: 0 },
    });
    // Their modules were asked over both versions, and what they have collected is in storage, or told of.
    const { answered = 0, collected = 0 } = report.realAgents ?? {};
    expect(answered).toBeGreaterThan(20);
    expect(collected).toBeGreaterThanOrEqual(answered);
    expect(report.rows.collected).toBe(report.rows.uploaded + report.rows.buffered + report.rows.dropped);
    expect(report.rows.uploaded).toBeGreaterThanOrEqual(collected);
    expect(report.deployments).toMatchObject([{ converged: 4 }, { converged: 4 }]);
    expect(agents()).toEqual([]);
  },
);

test('runReally() leaves no agent behind when nobody waits for it any more', { timeout: 90_000 }, async () => {
  const ending = new AbortController();
  const run = runReally({ ...options, devices: 1, realAgents: 1 }, () => undefined, ending.signal);
  run.catch(() => undefined);
  await until(() => agents().length > 0, { timeoutMs: 30_000 });
  ending.abort(new Error('enough'));
  await expect(run).rejects.toMatchObject({ cause: { message: 'enough' } });
  expect(agents()).toEqual([]);
});

/** Ids of the agents that this process has started and that run. */
function agents(): string[] {
  const lines = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', String(process.pid)], { encoding: 'utf8' });
  return lines.split('\n').filter((line) => line.includes('ferry-fleet-'));
}
