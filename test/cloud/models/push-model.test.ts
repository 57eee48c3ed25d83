import { randomBytes } from 'node:crypto';
import { readdir, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { message } from '../../../cloud/models/protobuf-message.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { workspaceRegistry } from '../../../cloud/workspace/registry.ts';
import { Digester } from '../../../shared/digest.ts';
import type { FerryError } from '../../../shared/errors.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { runFerry } from '../../ferry.ts';
import { hasDebianRegistry, startDebianRegistry } from '../../shared/oci/debian-registry.ts';
import { startMisbehaving } from '../../shared/oci/misbehaving-registry.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { digitsFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';
import { identityGraph, model } from './onnx-writer.ts';

test.for(['our own', "Debian's"] as const)(
  'ferry model register has the layer in %s registry when it is packed',
  async (whose, { skip }) => {
    if (whose === "Debian's" && !hasDebianRegistry) skip('docker-registry is not installed');
    await using registry = whose === 'our own' ? await ownRegistry() : await startDebianRegistry();
    await using rig = await workspaceRig();
    await rig.workspace.setEndpoints({ registry: `${registry.host}/team` }, {});
    const file = await largeModel(rig);
    const failures: FerryError[] = [];
    const where = workspaceRegistry(rig.workspace);
    const registered = await registerModel(
      rig.workspace,
      { path: file, name: 'large' },
      { ...(where && { registry: where }), onNotPushed: (reason) => failures.push(reason) },
    );
    expect(failures).toEqual([]);
    const client = new RegistryClient(registry.host);
    expect((await client.headManifest('team/models/large', '1'))?.digest).toBe(registered.artifactDigest);
    expect(await client.headBlob('team/models/large', registered.digest)).toBeGreaterThan(20_000_000);
  },
);

test('ferry model register --json pushes to the registry of the workspace, and --no-push does not', async () => {
  await using registry = await startRig();
  await using rig = await workspaceRig();
  await rig.workspace.setEndpoints({ registry: registry.registry.host }, {});
  const client = new RegistryClient(registry.registry.host);
  const register = async (...more: string[]): Promise<void> => {
    expect(
      await runFerry(['model', 'register', digitsFile, '--name', 'digits', ...more], { cwd: rig.folder }),
    ).toMatchObject({ code: 0, stderr: '' });
  };
  await register('--no-push');
  expect(await client.tags('models/digits')).toEqual([]);
  await register();
  expect(await client.tags('models/digits')).toEqual(['2']);
});

test('a model that the runtime refuses while it is uploaded is in neither place', async () => {
  await using registry = await startRig();
  await using rig = await workspaceRig();
  await rig.workspace.setEndpoints({ registry: registry.registry.host }, {});
  const file = join(rig.folder, 'unknown.onnx');
  await writeFile(file, model([1, message([1, 'x'], [2, 'y'], [4, 'NoSuchOperator'])], ...identityGraph.slice(1)));
  const { code, stderr } = await runFerry(['model', 'register', file, '--name', 'unknown'], { cwd: rig.folder });
  expect([code, stderr]).toEqual([1, expect.stringContaining('error MODEL_INVALID')]);
  expect(await new RegistryClient(registry.registry.host).tags('models/unknown')).toEqual([]);
  expect(await readdir(join(registry.layoutDir, '.registry', 'uploads'))).toEqual([]);
  expect(await readdir(join(registry.layoutDir, 'blobs', 'sha256'))).toEqual([]);
});

test.each([
  ['does not answer', undefined],
  ['refuses the upload', 403],
  ['breaks off within the upload', 'break'],
] as const)('a model is registered all the same where the registry %s, and ferry says so', async (_what, fault) => {
  await using registry = await startMisbehaving((request, response) => {
    if (request.method === 'PATCH') {
      request.once('data', () => (fault === 'break' ? request.destroy() : undefined));
      request.resume();
    } else if (request.method === 'POST' && fault === 'break') {
      response.writeHead(202, { location: '/v2/models/digits/blobs/uploads/1' }).end();
    } else response.writeHead(request.method === 'HEAD' ? 404 : 403).end();
  });
  if (fault === undefined) await registry[Symbol.asyncDispose]();
  await using rig = await workspaceRig();
  await rig.workspace.setEndpoints({ registry: registry.host }, {});
  const { code, stderr } = await runFerry(['model', 'register', digitsFile, '--name', 'digits'], { cwd: rig.folder });
  expect([code, stderr]).toEqual([0, expect.stringMatching(/^warning: digits is registered, and not pushed: Cannot /)]);
  expect((await runFerry(['model', 'list'], { cwd: rig.folder })).stdout).toContain('digits:1');
});

const misbehaviours: readonly [string, (request: IncomingMessage, response: ServerResponse) => unknown][] = [
  ['breaks off', (request) => request.destroy()],
  ['refuses it', (_request, response) => response.writeHead(500).end()],
  [
    'answers before it has all of it, and takes no more',
    (request, response) => response.writeHead(202).end(() => request.pause()),
  ],
];

test.each(misbehaviours)(
  'a large model is registered whole where the registry %s within its upload',
  async (_what, misbehave) => {
    await using registry = await startMisbehaving((request, response) => {
      if (request.method === 'PATCH') request.once('data', () => misbehave(request, response));
      else if (request.method === 'POST') response.writeHead(202, { location: '/v2/upload' }).end();
      else response.writeHead(request.method === 'HEAD' ? 404 : 403).end();
    });
    await using rig = await workspaceRig();
    await rig.workspace.setEndpoints({ registry: registry.host }, {});
    const file = await largeModel(rig);
    const where = workspaceRegistry(rig.workspace);
    const failures: FerryError[] = [];
    const registered = await registerModel(
      rig.workspace,
      { path: file, name: 'large' },
      { ...(where && { registry: where }), onNotPushed: (reason) => failures.push(reason) },
    );
    expect(failures).toHaveLength(1);
    expect(registry.asked.filter((asked) => asked.startsWith('PATCH'))).toHaveLength(1);
    const layout = await LayoutStore.open(rig.workspace.layoutFolder);
    const digester = new Digester();
    for await (const piece of (await layout.openBlob(registered.digest)) as AsyncIterable<Uint8Array>)
      digester.update(piece);
    expect(digester.finish().digest).toBe(registered.digest);
  },
);

async function ownRegistry(): Promise<{ readonly host: string } & AsyncDisposable> {
  const rig = await startRig();
  return { host: rig.registry.host, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

/** Writes a model of 24 MB, more than waits to be sent at a time. */
async function largeModel(rig: WorkspaceRig): Promise<string> {
  const bytes = 24_000_000;
  const tensor = message([1, bytes], [2, 2], [8, 'weights'], [9, randomBytes(bytes)]);
  const file = join(rig.folder, 'large.onnx');
  await writeFile(file, model(...identityGraph, [5, tensor]));
  return file;
}
