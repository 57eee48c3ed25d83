import { expect, test } from 'vitest';
import type { DeviceReport, ModuleReport } from '../../../../cloud/deploy/iotedge/device-report.ts';
import { type EdgeObservation, edgeServiceState } from '../../../../cloud/deploy/iotedge/edge-state.ts';

const image = 'localhost:5000/digits@sha256:1';
const module: ModuleReport = {
  runtimeStatus: 'running',
  statusDescription: '',
  exitCode: 0,
  restartCount: 0,
  image,
};
const report: DeviceReport = {
  deviceId: 'gw-1',
  connected: true,
  lastActivity: undefined,
  desiredVersion: 4,
  desiredModules: { digits: { settings: { image } } },
  desiredImages: { digits: image },
  attemptedVersion: 4,
  outcome: { code: 200, description: '' },
  modules: { digits: module },
  architecture: undefined,
  scoring: {},
  facts: {},
  bufferedRows: 0,
  deployments: { 'digits-1': 'Applied' },
};

function stateOf(change: Partial<DeviceReport>, more: Partial<EdgeObservation> = {}) {
  const reports = [{ ...report, ...change }];
  const common = { name: 'digits', image, deploymentId: 'digits-1', targetCondition: '*' };
  return edgeServiceState({ ...common, targetedCount: reports.length, reports, ...more });
}

test('edgeServiceState() is Healthy when the module runs on every device, off line ones too', () => {
  expect(stateOf({})).toMatchObject({ state: 'Healthy', devices: [{ deviceId: 'gw-1', state: 'Healthy' }] });
  expect(stateOf({ connected: false })).toMatchObject({ state: 'Healthy', devices: [{ connected: false }] });
});

test.each<[string, Partial<DeviceReport>, string, string]>([
  ['a device has yet to attempt it', { attemptedVersion: 3 }, 'Transitioning', 'taking the deployment'],
  ['a device was never there', { attemptedVersion: undefined, connected: false }, 'Transitioning', 'not connected'],
  ['the hub has not applied it', { deployments: { 'digits-1': 'Targeted' } }, 'Transitioning', 'has yet to apply'],
  ['a pull takes long', { outcome: { code: 500, description: 'The operation was canceled.' } }, 'Transitioning', '500'],
  ['the module is not reported', { modules: {} }, 'Transitioning', 'not there yet'],
  [
    'an older image is reported',
    { modules: { digits: { ...module, image: 'old' } } },
    'Transitioning',
    'not there yet',
  ],
  ['the agent is not running', { outcome: { code: 406, description: 'stopped' } }, 'Unhealthy', '406: stopped'],
  [
    'the module is restarted again and again',
    {
      modules: {
        digits: { ...module, runtimeStatus: 'backoff', exitCode: 1, restartCount: 4, statusDescription: 'bad' },
      },
    },
    'Unhealthy',
    'is backoff, exit code 1, restarted 4 times: bad',
  ],
  ['the manifest is refused', { outcome: { code: 412, description: 'schema' } }, 'Failed', '412: schema'],
  ['an image cannot be pulled', { outcome: { code: 500, description: 'no such image' } }, 'Failed', 'no such image'],
  [
    'the module has failed, whatever the agent says',
    {
      outcome: { code: 500, description: 'x' },
      modules: { digits: { ...module, runtimeStatus: 'failed', exitCode: 2, statusDescription: 'no model' } },
    },
    'Failed',
    'is failed, exit code 2: no model',
  ],
  [
    'another deployment has the device',
    { deployments: { 'digits-1': 'Targeted', other: 'Applied' } },
    'Failed',
    '"other" goes before',
  ],
])('edgeServiceState() when %s', (_what, change, state, reason) => {
  expect(stateOf(change)).toMatchObject({ state, reason: expect.stringContaining(reason) });
});

test('edgeServiceState() counts devices that the hub has yet to reach, and says when there is none or no deployment', () => {
  expect(stateOf({}, { targetedCount: 3 })).toMatchObject({
    state: 'Transitioning',
    reason: expect.stringContaining('2 of 3'),
  });
  expect(stateOf({}, { targetedCount: 0, reports: [] })).toMatchObject({
    state: 'Transitioning',
    reason: expect.stringContaining('for no device'),
  });
  expect(stateOf({}, { targetedCount: undefined })).toMatchObject({
    state: 'Failed',
    reason: expect.stringContaining('no deployment'),
  });
});

test('edgeServiceState() is that of the worst device and names it', () => {
  const waiting = { ...report, deviceId: 'gw-2', attemptedVersion: undefined };
  const failed = { ...report, deviceId: 'gw-3', outcome: { code: 400, description: 'bad' } };
  const seen = stateOf({}, { targetedCount: 3, reports: [report, waiting, failed] });
  expect(seen).toMatchObject({ state: 'Failed', reason: 'gw-3: its agent reports 400: bad' });
  expect(seen.devices.map(({ state }) => state)).toEqual(['Healthy', 'Transitioning', 'Failed']);
});
