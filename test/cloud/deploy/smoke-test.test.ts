import { expect, test } from 'vitest';
import { insertImage } from '../../../cloud/images/image.ts';
import { checkAnswer } from '../../../cloud/deploy/check-answer.ts';
import { sampleOf } from '../../../cloud/deploy/smoke-test.ts';
import type { ServiceRecord } from '../../../cloud/deploy/service-records.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

const record = { name: 'digits', image: { name: 'digits', version: 1, digest: '' } } as ServiceRecord;
const expected = { label: [7], probabilities: [[0.25, 'NaN']] };

test.each([[expected], [{ ...expected, more: 1 }], [{ ...expected, probabilities: [[0.250_02, 'NaN']] }]])(
  'checkAnswer() takes %j',
  (answer) => {
    expect(() => checkAnswer('digits', { expected, answer })).not.toThrow();
  },
);

test.each([
  [
    { label: [8], probabilities: [[0.26, 'NaN']] },
    'label[0] is 8, 7 was wanted; probabilities[0][0] is 0.26, 0.25 was wanted',
  ],
  [
    { label: [7, 7], probabilities: [[0.25, 0]] },
    'label has 2 elements, 1 were wanted; probabilities[0][1] is 0, "NaN" was wanted',
  ],
  [{ label: [7] }, 'probabilities is undefined'],
  ['Healthy', 'the answer is "Healthy"'],
])('checkAnswer() refuses %j, and says what differs', (answer, words) => {
  expect(() => checkAnswer('digits', { expected, answer })).toThrow(words);
});

test('sampleOf() gives the sample of the model that the service scores with, or says that there is none', async () => {
  await using rig = await workspaceRig();
  const { database } = rig.workspace;
  const sample = join(rig.folder, 'sample.json');
  await writeFile(sample, JSON.stringify({ data: [Array.from({ length: 64 }, () => 0)] }));
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const model = await registerModel(rig.workspace, { path: digitsFile, name: 'digits', sample });
  const image = {
    name: 'digits',
    digest: model.digest,
    sbom: model.digest,
    platform: '',
    flavor: 'web',
    script: null,
  } as const;
  const labels = { description: '', tags: {}, properties: {}, createdAt: model.createdAt, modifiedAt: model.createdAt };
  for (const version of [1, 2]) {
    insertImage(database, { ...image, ...labels, version, layers: [], models: [] }, [{ name: 'digits', version }]);
  }
  const withSample = { ...record, image: { ...record.image, version: 2 } };
  expect(sampleOf(database, withSample)).toEqual(model.sample);
  expect(() => sampleOf(database, record)).toThrow('the model "digits:1" was registered without one');
});
