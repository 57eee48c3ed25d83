import { expect, test } from 'vitest';
import { edgeDeployment } from '../../../cloud/deploy/edge-deployment.ts';
import { edgeServiceSettings, tagCondition } from '../../../cloud/deploy/service-settings.ts';

const request = { name: 'digits', image: 'digits', deviceTags: { site: 'lab' } };

test('edgeServiceSettings() fills in what is not asked', () => {
  expect(edgeServiceSettings(request)).toEqual({
    targetCondition: "tags.site='lab'",
    priority: 10,
    port: 5001,
    hostAddress: '127.0.0.1',
    collect: false,
    collectFiles: { format: 'csv', folder: 'day' },
    env: {},
    memoryMb: undefined,
  });
});

test('tagCondition() joins tags and keeps quotes in their values', () => {
  expect(tagCondition({ 'place.site': "O'Hare\\1", line: '3' })).toBe(
    String.raw`tags.place.site='O\'Hare\\1' AND tags.line='3'`,
  );
});

test.each([
  [{ name: 'ab' }, 'the name is "ab"'],
  [{ name: 'a'.repeat(33) }, 'the name is "aaa'],
  [{ name: 'digits-' }, 'the name is "digits-"'],
  [{ targetCondition: ' ' }, 'both device tags and a target condition'],
  [{ deviceTags: { 'my site': 'x' } }, 'the device tag is "my site"'],
  [{ priority: -1 }, 'the priority is -1'],
  [{ port: 0 }, 'the port is 0'],
  [{ memoryMb: 8 }, 'the memory is 8 MB, 64 at least'],
  [{ env: { IOTEDGE_DEVICEID: 'x' } }, 'the variable "IOTEDGE_DEVICEID"'],
  [{ env: { AML_MODEL_DC_BOUNDARY: 'hour' } }, 'the variable "AML_MODEL_DC_BOUNDARY"'],
  [{ collectFiles: { format: 'parquet' as const } }, 'collecting was wanted to be on'],
])('edgeServiceSettings() refuses %j', (change, problem) => {
  expect(() => edgeServiceSettings({ ...request, ...change })).toThrow(problem);
});

test('edgeDeployment() gives the same id to the same deployment alone', () => {
  const settings = edgeServiceSettings(request);
  const parts = {
    name: 'digits',
    image: `localhost:5000/digits@sha256:${'a'.repeat(64)}`,
    scope: 'sub/rg/lab',
    settings,
  };
  const { id } = edgeDeployment(parts);
  expect(edgeDeployment(parts).id).toBe(id);
  const others = [
    { ...parts, image: parts.image.replace('sha256:a', 'sha256:b') },
    { ...parts, scope: 'sub/rg/other' },
    { ...parts, settings: { ...settings, targetCondition: '*' } },
    { ...parts, settings: { ...settings, priority: 11 } },
  ].map((other) => edgeDeployment(other).id);
  expect(new Set([id, ...others]).size).toBe(5);
});

test('edgeDeployment() tells the scoring server what collected rows become, where that is not what it is by itself', () => {
  const parts = { name: 'digits', image: `localhost:5000/digits@sha256:${'a'.repeat(64)}`, scope: 'sub/rg/lab' };
  const variablesOf = (change: Partial<Parameters<typeof edgeServiceSettings>[0]>): string => {
    const settings = edgeServiceSettings({ ...request, collect: true, ...change });
    return JSON.stringify(edgeDeployment({ ...parts, settings }).content);
  };
  expect(variablesOf({})).not.toMatch(/MODELFERRY_COLLECT_FORMAT|AML_MODEL_DC_BOUNDARY/);
  const chosen = variablesOf({ collectFiles: { format: 'jsonl', folder: 'hour' } });
  expect(chosen).toContain('"MODELFERRY_COLLECT_FORMAT":{"value":"jsonl"}');
  expect(chosen).toContain('"AML_MODEL_DC_BOUNDARY":{"value":"hour"}');
});
