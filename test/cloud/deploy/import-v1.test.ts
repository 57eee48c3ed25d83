import { expect, test } from 'vitest';
import { importV1 } from '../../../cloud/deploy/import-v1.ts';

const aks = {
  computeType: 'AKS',
  autoScaler: {
    autoscaleEnabled: true,
    minReplicas: 2,
    maxReplicas: 6,
    refreshPeriodInSeconds: 1,
    targetUtilization: 70,
  },
  dataCollection: { storageEnabled: true },
  authEnabled: true,
  containerResourceRequirements: { cpu: 0.5, memoryInGB: 1.0 },
  appInsightsEnabled: true,
  scoringTimeoutMs: 5000,
  maxConcurrentRequestsPerContainer: 2,
  maxQueueWaitMs: 5000,
  livenessProbeRequirements: { initialDelaySeconds: 310, periodSeconds: 10 },
  namespace: 'ml',
  keys: { primaryKey: 'secret-of-mine', secondaryKey: null },
};

test("importV1() takes v1's AKS configuration over, and says what it leaves out, without the keys", () => {
  const { file, notes } = importV1(aks, { entryScript: 'score.py', runtime: 'python', baseImage: 'node:26' });
  expect(file).toEqual({
    target: 'aks',
    build: { base: 'node:26' },
    settings: {
      collect: true,
      appInsights: true,
      authEnabled: true,
      scoringTimeoutMs: 5000,
      maxConcurrentRequests: 2,
      maxQueueWaitMs: 5000,
      autoscaleEnabled: true,
      autoscaleMinReplicas: 2,
      autoscaleMaxReplicas: 6,
      autoscaleTargetUtilization: 70,
      autoscaleRefreshSeconds: 1,
      cpuCores: 0.5,
      memoryGb: 1,
      periodSeconds: 10,
      initialDelaySeconds: 310,
      namespace: 'ml',
    },
  });
  expect(notes).toEqual([expect.stringContaining('keys are left out'), expect.stringContaining('score.py')]);
  expect(JSON.stringify({ file, notes })).not.toContain('secret-of-mine');
});

test("importV1() takes v1's local and ACI configurations over", () => {
  expect(importV1({ computeType: 'local', port: 32_267 }).file).toEqual({
    target: 'local',
    settings: { port: 32_267 },
  });
  const aci = {
    computeType: 'aci',
    containerResourceRequirements: { cpu: 1, memoryInGB: 2 },
    location: 'westeurope',
    dnsNameLabel: 'churn-svc',
  };
  expect(importV1(aci).file).toEqual({
    target: 'aci',
    settings: { cpuCores: 1, memoryGb: 2, location: 'westeurope', dnsNameLabel: 'churn-svc' },
  });
});

test.each([
  [{}, 'computeType is "missing"'],
  [{ computeType: 'moon' }, 'computeType is "moon"'],
  [{ computeType: 'aks', numReplicas: 0 }, 'the number of replicas is 0'],
])('importV1() refuses %j', (config, words) => {
  expect(() => importV1(config)).toThrow(words);
});
