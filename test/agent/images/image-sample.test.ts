import { expect, test } from 'vitest';
import { readImageSample } from '../../../agent/images/image-sample.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { putTestImage } from '../../shared/containers/test-image.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

const signature = {
  inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
  outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
};
const model = { name: 'm', version: 1, format: 'onnx', path: '/models/m/m.onnx', signature };
const sample = { input: { x: [0] }, output: { y: [1] } };

test.each([
  ['gives the sample of the first model', { models: [{ ...model, sample }, model] }, sample],
  ['gives nothing for a model without one', { models: [model] }, undefined],
  ['gives nothing for a service without models', { models: [] }, undefined],
  ['gives nothing for a service of a later form', { schemaVersion: 2, models: [{ ...model, sample }] }, undefined],
] as const)('readImageSample() %s', async (_, service, expected) => {
  await using folder = await temporaryFolder();
  const layout = await LayoutStore.open(folder.path);
  const image = await putTestImage(layout, { script: 'true', service: { schemaVersion: 1, ...service } });
  expect(await readImageSample(layout, image)).toEqual(expected);
});

test('readImageSample() gives nothing for an image of somebody else', async () => {
  await using folder = await temporaryFolder();
  const layout = await LayoutStore.open(folder.path);
  expect(await readImageSample(layout, await putTestImage(layout, { script: 'true' }))).toBeUndefined();
});
