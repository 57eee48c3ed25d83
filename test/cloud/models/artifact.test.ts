import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Model } from '../../../cloud/models/model.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { createLogger } from '../../../shared/log.ts';
import { startRegistry } from '../../../simulators/registry/registry.ts';
import { hasCommand, runCommand } from '../../shared/oci/commands.ts';
import { digitsFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const hasSkopeo = await hasCommand('skopeo');
const hasOras = await hasCommand('oras', 'version');

/** What every reader of OCI artifacts must find. */
const document = (model: Model): object => ({
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  artifactType: 'application/vnd.modelferry.model.v1',
  config: { mediaType: 'application/vnd.modelferry.model.config.v1+json' },
  layers: [
    {
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: model.digest,
      annotations: { 'org.opencontainers.image.title': 'digits.tar' },
    },
  ],
  annotations: { 'org.opencontainers.image.title': 'digits' },
});

test.runIf(hasSkopeo)("skopeo reads a model from the workspace's layout and copies it away", async () => {
  await using rig = await workspaceRig();
  const model = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const name = `oci:${rig.workspace.layoutFolder}:models/digits:1`;
  expect(JSON.parse(await runCommand('skopeo', ['inspect', '--raw', name]))).toMatchObject(document(model));
  const copy = join(rig.folder, 'copy');
  await runCommand('skopeo', ['copy', '-q', '--preserve-digests', name, `oci:${copy}:m`]);
  const index = JSON.parse(await readFile(join(copy, 'index.json'), 'utf8')) as object;
  expect(index).toMatchObject({ manifests: [{ digest: model.artifactDigest }] });
});

test.runIf(hasSkopeo)("skopeo reads a model from the workspace's registry", async () => {
  await using rig = await workspaceRig();
  const model = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  await using registry = await registryOf(rig);
  const name = `docker://${registry.host}/models/digits:1`;
  const raw = await runCommand('skopeo', ['inspect', '--raw', '--tls-verify=false', name]);
  expect(JSON.parse(raw)).toMatchObject(document(model));
});

test.runIf(hasOras)('oras finds a model in the layout and in the registry, and pulls its files', async () => {
  await using rig = await workspaceRig();
  const model = await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const layout = `${rig.workspace.layoutFolder}@${model.artifactDigest}`;
  const fetched = await runCommand('oras', ['manifest', 'fetch', '--oci-layout', layout]);
  expect(JSON.parse(fetched)).toMatchObject(document(model));
  await using registry = await registryOf(rig);
  const target = join(rig.folder, 'pulled');
  await runCommand('oras', ['pull', '--plain-http', `${registry.host}/models/digits:1`, '-o', target]);
  expect(await unpacked(rig, join(target, 'digits.tar'))).toEqual(await readFile(digitsFile));
});

/** Serves the workspace's layout, as `ferry up` does. */
function registryOf({ workspace }: WorkspaceRig): ReturnType<typeof startRegistry> {
  const log = createLogger('registry', { level: 'silent' });
  return startRegistry({ layoutDir: workspace.layoutFolder, port: 0, log });
}

/** Gives the model's file out of the layer that was pulled. */
async function unpacked({ folder }: WorkspaceRig, tar: string): Promise<Buffer> {
  const into = join(folder, 'unpacked');
  await mkdir(into);
  await runCommand('tar', ['-xf', tar, '-C', into]);
  expect(await readdir(join(into, 'models'))).toEqual(['digits']);
  return await readFile(join(into, 'models/digits/digits-mlp.onnx'));
}
