import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { diffService } from '../../../cloud/deploy/service-diff.ts';
import { readServiceFile } from '../../../cloud/deploy/service-file.ts';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

const text = `
name: digits
target: aks/prod
models:
  - { path: models/digits.onnx, name: digits, sample: rows.json }
build: { script: score.ts }
settings: { numReplicas: 2, tlsCertificateFile: tls.pem, tlsKeyFile: /etc/key.pem }
tags: { area: vision }
`;

test('readServiceFile() takes paths from beside the file', async () => {
  await using rig = await workspaceRig();
  const path = join(rig.folder, 'service.yaml');
  await writeFile(path, text);
  expect(await readServiceFile(path)).toEqual({
    name: 'digits',
    target: { kind: 'aks', compute: 'prod' },
    models: [{ path: join(rig.folder, 'models/digits.onnx'), name: 'digits', sample: join(rig.folder, 'rows.json') }],
    build: { script: join(rig.folder, 'score.ts') },
    settings: { numReplicas: 2, tlsCertificateFile: join(rig.folder, 'tls.pem'), tlsKeyFile: '/etc/key.pem' },
    tags: { area: 'vision' },
    properties: {},
    description: '',
    isWhole: true,
  });
});

test.each([
  ['name: digits\ntarget: local', 'one of them was wanted'],
  ['name: digits\ntarget: local\nimage: a\nsettings: { replicas: 2 }', 'settings: Unrecognized key: "replicas"'],
  ['name: digits\ntarget: local\nimage: a\ncolour: red', 'Unrecognized key: "colour"'],
  ['name: [digits', 'Cannot use'],
  ['target: local\nimage: a', 'name:'],
])('readServiceFile() refuses %j', async (content, words) => {
  await using rig = await workspaceRig();
  const path = join(rig.folder, 'service.yaml');
  await writeFile(path, content);
  await expect(readServiceFile(path)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining(words),
  });
});

test('diffService() names what would be new, and refuses what is wrong, without touching anything', async () => {
  await using rig = await workspaceRig();
  const request = {
    name: 'digits',
    target: { kind: 'local' },
    models: [{ path: digitsFile, name: 'digits' }],
    settings: { port: 5055 },
    isWhole: true,
  } as const;
  const differences = await diffService(rig.workspace, request);
  expect(differences).toContainEqual({ what: 'models', is: undefined, wanted: 'digits, a new version' });
  expect(differences).toContainEqual({ what: 'settings.port', is: undefined, wanted: 5055 });
  await expect(diffService(rig.workspace, { ...request, settings: { port: 0 } })).rejects.toMatchObject({
    code: 'SERVICE_INVALID',
  });
  expect(rig.workspace.database.prepare('SELECT count(*) FROM models').pluck().get()).toBe(0);
});
