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

test('edgeDeployment() puts the runtime of an accelerator beside the service, with the files of its devices', () => {
  const settings = completeSettings('iotedge', {
    ...given,
    acceleratorImage: 'runtime:1',
    acceleratorDevices: '/dev/dri/renderD128,/dev/xclmgmt0',
    acceleratorEnv: { XLNX_VART_FIRMWARE: '/opt/x.xclbin' },
    acceleratorShare: 0.9,
  });
  const [image, acceleratorImage] = ['digits', 'runtime'].map(
    (name) => `localhost:5000/${name}@sha256:${'a'.repeat(64)}`,
  );
  const { content } = edgeDeployment({
    name: 'digits',
    image: image ?? '',
    acceleratorImage,
    scope: 'sub/rg/lab',
    settings,
  });
  const agent = (content as { modulesContent: Record<string, unknown> }).modulesContent['$edgeAgent'];
  const { modules } = (agent as { 'properties.desired': { modules: Record<string, EdgeModuleText> } })[
    'properties.desired'
  ];
  expect(Object.keys(modules)).toEqual(['digits', 'digits-accelerator']);
  expect(modules['digits']?.env).toMatchObject({
    MODELFERRY_ACCELERATOR_URL: { value: 'http://digits-accelerator:8500' },
    MODELFERRY_ACCELERATOR_SHARE_MIN: { value: '0.9' },
  });
  const runtime = modules['digits-accelerator'];
  expect(runtime?.env).toEqual({ XLNX_VART_FIRMWARE: { value: '/opt/x.xclbin' } });
  expect(runtime?.settings.image).toBe(acceleratorImage);
  expect(JSON.parse(runtime?.settings.createOptions ?? '')).toMatchObject({
    HostConfig: {
      Devices: [
        { PathOnHost: '/dev/dri/renderD128', PathInContainer: '/dev/dri/renderD128', CgroupPermissions: 'rwm' },
        { PathOnHost: '/dev/xclmgmt0' },
      ],
    },
  });
});

interface EdgeModuleText {
  readonly env?: unknown;
  readonly settings: { readonly image: string; readonly createOptions: string };
}
