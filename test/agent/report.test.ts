import { expect, test } from 'vitest';
import { readDesired } from '../../agent/desired-state.ts';
import { fitReport } from '../../agent/fit-report.ts';
import { labelsOf } from '../../agent/labels.ts';
import type { ObservedModule } from '../../agent/plan.ts';
import { type ReportInput, reportedState } from '../../agent/report.ts';
import type { ContainerState } from '../../shared/containers/engine.ts';
import { edgeAgentDesired, type ModuleToDeploy } from '../../shared/edge/build-manifest.ts';

/** What a report of these modules is made from; each has a container of this state. */
function inputOf(
  modules: Record<string, ModuleToDeploy>,
  state: Partial<ContainerState> = {},
  observed: Partial<ObservedModule> = {},
): ReportInput {
  const reading = readDesired({ ...edgeAgentDesired({ modules }), $version: 5 });
  if (reading.code !== 200) throw new Error(reading.description);
  const { modules: specs } = reading.state;
  return {
    lastDesiredVersion: 5,
    status: { code: 200, description: '' },
    desired: reading.state,
    containers: specs.map((spec) => ({
      name: spec.name,
      labels: labelsOf(spec, 'sha256:abc'),
      status: 'running',
      exitCode: 0,
      startedAt: '2026-01-01T00:00:00Z',
      ...state,
    })),
    observed: new Map(
      specs.map(({ name, fingerprint }) => [
        name,
        { fingerprint, status: 'running', exitCode: 0, restartCount: 0, ...observed },
      ]),
    ),
    agentStartedAt: '2026-01-01T00:00:00Z',
    agentVersion: '1.2.3',
  };
}

const digits = {
  digits: { image: 'r/digits:1', version: '2', env: { A: 1 }, createOptions: { Env: ['X=1'] }, startupOrder: 3 },
};

test('reportedState() has the shape that IoT Edge gives it', () => {
  const { desired: _desired, ...report } = reportedState(inputOf(digits));
  expect(report).toMatchObject({
    schemaVersion: '1.1',
    version: { version: '1.2.3' },
    lastDesiredVersion: 5,
    lastDesiredStatus: { code: 200, description: '' },
    runtime: { type: 'docker', settings: { registryCredentials: {} }, platform: { os: 'linux' } },
    systemModules: { edgeAgent: { type: 'docker', runtimeStatus: 'running' }, edgeHub: { runtimeStatus: 'stopped' } },
    modules: {
      digits: {
        type: 'docker',
        version: '2',
        status: 'running',
        restartPolicy: 'always',
        imagePullPolicy: 'on-create',
        startupOrder: 3,
        exitCode: 0,
        lastStartTimeUtc: '2026-01-01T00:00:00Z',
        lastExitTimeUtc: '0001-01-01T00:00:00Z',
        restartCount: 0,
        runtimeStatus: 'running',
        settings: { image: 'r/digits:1', imageHash: 'sha256:abc', createOptions: '{"Env":["X=1"]}' },
        env: { A: { value: '1' } },
      },
    },
  });
});

test.each([
  ['exited', 0, 'always', 0, 'backoff'],
  ['exited', 1, 'on-failure', 0, 'backoff'],
  ['exited', 1, 'on-failure', 20, 'failed'],
  ['exited', 1, 'never', 0, 'failed'],
  ['exited', 0, 'never', 0, 'stopped'],
  ['created', 0, 'always', 0, 'stopped'],
  ['dead', 0, 'always', 0, 'dead'],
] as const)(
  'reportedState() calls a module that is %s with %i under "%s" after %i restarts "%s"',
  (status, exitCode, restartPolicy, restartCount, runtimeStatus) => {
    const input = inputOf({ m: { image: 'a', restartPolicy } }, { status, exitCode }, { restartCount });
    expect(reportedState(input)).toMatchObject({ modules: { m: { runtimeStatus } } });
  },
);

test('reportedState() says 406 and unknown for an agent that has ended', () => {
  const report = reportedState({ ...inputOf(digits), status: { code: 406, description: 'Agent is not running' } });
  expect(report).toMatchObject({
    lastDesiredStatus: { code: 406 },
    systemModules: { edgeAgent: { runtimeStatus: 'unknown' } },
    modules: { digits: { runtimeStatus: 'unknown' } },
  });
});

test('reportedState() gives no password of a registry back', () => {
  const registryCredentials = { r: { username: 'u', password: 'hunter2', address: 'r' } };
  const reading = readDesired(edgeAgentDesired({ modules: {}, registryCredentials }));
  if (reading.code !== 200) throw new Error(reading.description);
  expect(JSON.stringify(reportedState({ ...inputOf({}), desired: reading.state }))).not.toContain('hunter2');
});

test('pain 8, a report of over 32 KB: fitReport() leaves out what the hub knows, until it fits', () => {
  const createOptions = { Env: ['x'.repeat(400)] };
  const modules = Object.fromEntries(
    Array.from({ length: 45 }, (_, index) => [
      `module-${index}`,
      { image: `registry/module-${index}:1`, createOptions, env: { A: 'y'.repeat(100) } },
    ]),
  );
  const report = reportedState(inputOf(modules));
  expect(JSON.stringify(report).length).toBeGreaterThan(32_768);
  const fitted = fitReport(report);
  expect(JSON.stringify(fitted).length).toBeLessThanOrEqual(30_000);
  expect(fitted).toMatchObject({
    modules: { 'module-44': { runtimeStatus: 'running', settings: { image: 'registry/module-44:1' } } },
  });
});

test('fitReport() leaves a report alone that fits', () => {
  const report = reportedState(inputOf(digits));
  expect(fitReport(report)).toBe(report);
});
