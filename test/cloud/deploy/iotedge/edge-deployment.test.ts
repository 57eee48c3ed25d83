import { expect, test } from 'vitest';
import { edgeDeployment, tagCondition } from '../../../../cloud/deploy/iotedge/edge-deployment.ts';
import type { GivenSettings } from '../../../../cloud/deploy/settings/definitions.ts';
import { completeSettings } from '../../../../cloud/deploy/settings/service-settings.ts';

const given: GivenSettings = { deviceTags: { site: 'lab' } };

test('tagCondition() joins tags and keeps quotes in their values', () => {
  expect(tagCondition({ 'place.site': "O'Hare\\1", line: '3' })).toBe(
    String.raw`tags.place.site='O\'Hare\\1' AND tags.line='3'`,
  );
});

test('edgeDeployment() gives the same id to the same deployment alone', () => {
  const settings = completeSettings('iotedge', given);
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
  const variablesOf = (change: GivenSettings): string => {
    const settings = completeSettings('iotedge', { ...given, collect: true, ...change });
    return JSON.stringify(edgeDeployment({ ...parts, settings }).content);
  };
  expect(variablesOf({})).not.toMatch(/MODELFERRY_COLLECT_FORMAT|AML_MODEL_DC_BOUNDARY/);
  const chosen = variablesOf({ collectFormat: 'jsonl', collectFolder: 'hour' });
  expect(chosen).toContain('"MODELFERRY_COLLECT_FORMAT":{"value":"jsonl"}');
  expect(chosen).toContain('"AML_MODEL_DC_BOUNDARY":{"value":"hour"}');
});
