import { request } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type CreatedImage, createImage } from '../../../cloud/images/create.ts';
import { listImages } from '../../../cloud/images/image.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { createLogger } from '../../../shared/log.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { type Registry, startRegistry } from '../../../simulators/registry/registry.ts';
import { dockerAnswers } from '../../docker.ts';
import { runCommand } from '../../shared/oci/commands.ts';
import { startMisbehaving } from '../../shared/oci/misbehaving-registry.ts';
import { until } from '../../until.ts';
import { digitsFile, logisticFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const onLinux = process.platform === 'linux';

test.runIf(onLinux)('createImage() pushes an image and its models to the registry, once', async () => {
  await using rig = await registryRig();
  const { image, push } = await rig.create();
  const bytes = (kind: string): number => image.layers.find((layer) => layer.kind === kind)?.sizeBytes ?? 0;
  expect(push?.bytesPushed).toBeGreaterThan(bytes('base') + bytes('engine') + bytes('model') + bytes('app'));
  // The model went there as its own artifact, and the image refers to that.
  expect(push?.bytesMounted).toBe(bytes('model'));
  const client = new RegistryClient(rig.registry.host);
  expect((await client.headManifest('team/digits', image.digest))?.digest).toBe(image.digest);
  expect(await client.tags('team/digits')).toEqual(['1']);
  expect(await client.tags('team/models/digits')).toEqual(['1']);

  const again = await rig.create();
  expect(again.created).toBe(false);
  expect(again.push).toMatchObject({ bytesPushed: 0, bytesMounted: 0 });
});

test.runIf(onLinux)(
  'createImage() of a new model version pushes the model, its app layer and config alone',
  async () => {
    await using rig = await registryRig();
    const first = await rig.create();
    const { sizeBytes } = await registerModel(rig.workspace, { path: logisticFile, name: 'digits' });
    const second = await rig.create();
    expect(second.image).toMatchObject({ version: 2, models: ['digits:2'] });
    // Its documents, most of them the list of what it was made of.
    expect(second.push?.bytesPushed).toBeLessThan(sizeBytes + 50_000);
    expect(second.push?.bytesPresent).toBeGreaterThan((first.image.layers[0]?.sizeBytes ?? 0) - 1);
    const other = await createImage(rig.workspace, { models: [{ name: 'digits' }], name: 'other' });
    // Base, engine and model come from the repositories of the first image and of the model.
    expect(other.push?.bytesPushed).toBeLessThan(50_000);
    expect(other.push?.bytesMounted).toBeGreaterThan(first.image.layers[0]?.sizeBytes ?? 0);
  },
);

test.runIf(onLinux)(
  'createImage() brings its bill of materials to a registry that refuses what refers to something that is not there',
  async () => {
    await using rig = await registryRig();
    const real = `http://${rig.registry.host}`;
    let refused = 0;
    await using strict = await startMisbehaving((asked, answer) => {
      void (async () => {
        const body: Buffer = Buffer.concat(await asked.toArray());
        const isManifest = asked.method === 'PUT' && asked.url?.includes('/manifests/') === true;
        const { subject } = isManifest ? (JSON.parse(body.toString()) as { subject?: { digest: string } }) : {};
        const of = asked.url?.replace(/[^/]+$/, subject?.digest ?? '') ?? '';
        if (subject !== undefined && !(await fetch(real + of, { method: 'HEAD' })).ok) {
          refused += 1;
          answer.writeHead(404).end();
          return;
        }
        const passed = request(real + asked.url, { method: asked.method, headers: asked.headers }, (given) => {
          answer.writeHead(given.statusCode ?? 500, given.headers);
          given.pipe(answer);
        });
        passed.end(body);
      })();
    });
    // What it refers to takes a while, since its layers do.
    await rig.workspace.setEndpoints({ registry: `${strict.host}/team` }, {});
    const { image } = await rig.create();
    expect(refused).toBeGreaterThan(0);
    const client = new RegistryClient(rig.registry.host);
    const referrers = await client.referrers('team/digits', image.digest);
    expect(referrers.map(({ digest }) => digest)).toEqual([image.sbom]);
  },
);

test.runIf(onLinux)(
  'createImage() names a registry that does not answer, and leaves the workspace as it was',
  async () => {
    await using rig = await registryRig();
    await rig.registry.close();
    await expect(rig.create()).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      message: expect.stringContaining(rig.registry.host),
    });
    expect(listImages(rig.workspace.database)).toEqual([]);
    const layout = await LayoutStore.open(rig.workspace.layoutFolder);
    expect(await layout.repositories()).toEqual(['models/digits']);
    await rig.workspace.setEndpoints({}, {});
    expect((await rig.create()).image.version).toBe(1);
  },
);

test.runIf(onLinux)(
  'createImage() pushes to a registry over the layout of the workspace without moving a byte',
  async () => {
    await using rig = await workspaceRig();
    await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
    await using registry = await startRegistry({ layoutDir: rig.workspace.layoutFolder, port: 0, log: silent });
    await rig.workspace.setEndpoints({ registry: registry.host }, {});
    const { image, push } = await createImage(rig.workspace, { models: [{ name: 'digits' }] });
    expect(push).toMatchObject({ bytesPushed: 0 });
    expect(await new RegistryClient(registry.host).tags('digits')).toEqual([String(image.version)]);
  },
);

test.runIf(onLinux && dockerAnswers)(
  'Docker pulls the image by digest and runs it read-only without any capability',
  async () => {
    await using rig = await registryRig();
    const { image } = await rig.create();
    const reference = `${rig.registry.host}/team/digits@${image.digest}`;
    await runCommand('docker', ['pull', '--quiet', reference]);
    await using container = await runContainer(reference);
    const address = `http://127.0.0.1:${container.port}`;
    await until(async () => (await fetch(address)).ok, { what: 'the scoring server' });
    const row = Array.from({ length: 64 }, () => 0);
    const response = await fetch(`${address}/score`, { method: 'POST', body: JSON.stringify({ pixels: [row] }) });
    expect(await response.json()).toMatchObject({ label: [expect.any(Number)] });
  },
);

const silent = createLogger('registry', { level: 'silent' });

interface RegistryRig extends WorkspaceRig {
  readonly registry: Registry;
  create(): Promise<CreatedImage>;
}

/** A workspace with the model `digits:1`, and an empty registry of its own with the prefix `team`. */
async function registryRig(): Promise<RegistryRig> {
  const rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const registry = await startRegistry({ layoutDir: join(rig.folder, 'registry'), port: 0, log: silent });
  await rig.workspace.setEndpoints({ registry: `${registry.host}/team` }, {});
  return {
    ...rig,
    registry,
    create: () => createImage(rig.workspace, { models: [{ name: 'digits' }] }),
    [Symbol.asyncDispose]: async () => {
      await registry.close();
      await rig[Symbol.asyncDispose]();
    },
  };
}

/** Runs an image as strictly as one can; container and image are removed when the test's scope ends. */
async function runContainer(
  reference: string,
): Promise<{ readonly id: string; readonly port: number } & AsyncDisposable> {
  const strict = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--user', '4321:4321'];
  const id = (
    await runCommand('docker', ['run', '--detach', ...strict, '--publish', '127.0.0.1::5001', reference])
  ).trim();
  const port = Number((await runCommand('docker', ['port', id, '5001/tcp'])).trim().split(':').at(-1));
  return {
    id,
    port,
    [Symbol.asyncDispose]: async () => {
      await runCommand('docker', ['rm', '--force', '--volumes', id]);
      await runCommand('docker', ['rmi', reference]);
    },
  };
}
