import { expect, test } from 'vitest';
import { mergeSettings } from '../../../cloud/deploy/desired-service.ts';
import type { GivenSettings } from '../../../cloud/deploy/settings/definitions.ts';
import { completeSettings, settingProblems } from '../../../cloud/deploy/settings/service-settings.ts';
import type { TargetKind } from '../../../cloud/deploy/target.ts';

const labelled: GivenSettings = { deviceTags: { site: 'lab' } };

test('completeSettings() fills in what is not given, by target', () => {
  expect(completeSettings('iotedge', labelled)).toMatchObject({
    deviceTags: { site: 'lab' },
    layered: false,
    hostAddress: '127.0.0.1',
    collect: false,
    collectFormat: 'csv',
    collectFolder: 'day',
    env: {},
  });
  expect(completeSettings('aks', {})).toMatchObject({
    authEnabled: true,
    cpuCores: 0.1,
    memoryGb: 0.5,
    scoringTimeoutMs: 60_000,
  });
  expect(completeSettings('local', {})).toMatchObject({ authEnabled: false });
});

test.each<[string, TargetKind, GivenSettings, string]>([
  ['ab', 'local', {}, 'the name is "ab"'],
  ['a'.repeat(33), 'local', {}, 'the name is "aaa'],
  ['digits-', 'local', {}, 'the name is "digits-"'],
  ['digits', 'iotedge', { ...labelled, targetCondition: ' ' }, 'both device tags and a target condition'],
  ['digits', 'iotedge', {}, 'no device is meant'],
  ['digits', 'iotedge', { deviceTags: { 'my site': 'x' } }, 'the device tag is "my site"'],
  ['digits', 'iotedge', { ...labelled, priority: -1 }, 'the priority is -1'],
  ['digits', 'iotedge', { ...labelled, port: 0 }, 'the port is 0, 1 to 65535 was wanted'],
  ['digits', 'iotedge', { ...labelled, memoryMb: 8 }, 'the memory is 8, 64 MB at least'],
  ['digits', 'iotedge', { ...labelled, env: { IOTEDGE_DEVICEID: 'x' } }, 'the variable "IOTEDGE_DEVICEID"'],
  [
    'digits',
    'iotedge',
    { ...labelled, env: { AML_MODEL_DC_BOUNDARY: 'hour' } },
    'the variable "AML_MODEL_DC_BOUNDARY"',
  ],
  ['digits', 'iotedge', { ...labelled, collectFormat: 'parquet' }, 'collecting was wanted to be on'],
  [
    'digits',
    'iotedge',
    { ...labelled, numReplicas: 2 },
    '(numReplicas) is given, which "iotedge" does not have; it is for local, aks, fpga',
  ],
  ['digits', 'local', { balance: 'connections', engine: 'docker' }, 'balanced among containers, processes (engine)'],
  [
    'digits',
    'local',
    { balance: 'connections', tlsCertificateFile: 'c.pem', tlsKeyFile: 'k.pem' },
    'balanced with TLS, which ends at the port: requests were wanted',
  ],
  ['digits', 'local', { env: { MODELFERRY_LISTEN_FD: '3' } }, 'the variable "MODELFERRY_LISTEN_FD" is given'],
  ['digits', 'fpga', {}, 'no accelerator is meant, the image of its runtime (acceleratorImage) was wanted'],
  [
    'digits',
    'fpga',
    { acceleratorImage: 'r', acceleratorShare: 2 },
    'the share that runs on the accelerator is 2, 0 to 1',
  ],
  ['digits', 'fpga', { acceleratorImage: 'r', acceleratorResource: 'fpga' }, 'the device resource is "fpga"'],
  ['digits', 'fpga', { acceleratorImage: 'r', tolerations: { sku: 'fpga' } }, 'VALUE:EFFECT by key'],
  ['digits', 'aks', { acceleratorImage: 'r' }, '(acceleratorImage) is given, which "aks" does not have'],
  [
    'digits',
    'iotedge',
    { ...labelled, acceleratorDevices: '/dev/x' },
    'acceleratorDevices is given without acceleratorImage',
  ],
  ['digits', 'iotedge', { ...labelled, acceleratorImage: 'r', acceleratorDevices: 'x' }, 'paths below /dev'],
  ['digits', 'aks', { numReplicas: 2, autoscaleMaxReplicas: 3 }, 'both a number of replicas and scaling by load'],
  [
    'digits',
    'aks',
    { autoscaleMinReplicas: 4, autoscaleMaxReplicas: 3 },
    'the least number of replicas is 4 and the most 3',
  ],
  ['digits', 'aks', { autoscaleEnabled: false, autoscaleMinReplicas: 4 }, 'scaling by load is off'],
  ['digits', 'aks', { autoscaleTargetUtilization: 101 }, 'the utilisation is 101, 1 to 100 percent was wanted'],
  ['digits', 'aks', { cpuCores: 2, cpuCoresLimit: 1 }, 'cpuCoresLimit is 1, no less than cpuCores, 2,'],
  ['digits', 'aks', { scoringTimeoutMs: 300_001 }, 'the scoring timeout is 300001, 1 to 300000 ms was wanted'],
  ['digits', 'aks', { authEnabled: true, tokenAuthEnabled: true }, 'both authEnabled and tokenAuthEnabled'],
  ['digits', 'local', { tlsKeyFile: 'key.pem' }, 'only one of tlsCertificateFile and tlsKeyFile'],
])('settingProblems() of %s on %s with %j', (name, kind, given, problem) => {
  expect(settingProblems(name, kind, given).join('; ')).toContain(problem);
});

test('settingProblems() names everything at once, and nothing where all is well', () => {
  expect(settingProblems('x', 'aks', { cpuCores: 0, memoryGb: -1, port: 80 })).toHaveLength(4);
  expect(settingProblems('digits', 'aks', { numReplicas: 3, cpuCores: 0.5 })).toEqual([]);
});

test('mergeSettings() lets what excludes each other take its place', () => {
  expect(mergeSettings({ numReplicas: 3, env: { A: 'b' } }, { autoscaleMaxReplicas: 5 })).toEqual({
    env: { A: 'b' },
    autoscaleMaxReplicas: 5,
  });
  expect(mergeSettings({ autoscaleEnabled: true, autoscaleMaxReplicas: 5 }, { numReplicas: 1 })).toEqual({
    numReplicas: 1,
  });
  expect(mergeSettings(labelled, { targetCondition: '*' })).toEqual({ targetCondition: '*' });
});
