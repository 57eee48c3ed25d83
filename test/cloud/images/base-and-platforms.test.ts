import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { exportContext } from '../../../cloud/images/export-context.ts';
import { findImage } from '../../../cloud/images/image.ts';
import { removeImage } from '../../../cloud/images/remove.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { type Digest, digestOf } from '../../../shared/digest.ts';
import { createLogger } from '../../../shared/log.ts';
import { imageConfigSchema } from '../../../shared/oci/image-config.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { encodeJson, type Manifest } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { tarLayer } from '../../../shared/oci/tar-layer.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { type Registry, startRegistry } from '../../../simulators/registry/registry.ts';
import { digitsFile, type WorkspaceRig, workspaceRig } from '../workspace-rig.ts';

const both = 'linux/amd64,linux/arm64';

test('createImage() upon a pulled base keeps its layers as they are, and adds its own', async () => {
  await using rig = await baseRig();
  const { image } = await createImage(rig.workspace, {
    models: [{ name: 'digits' }],
    platform: 'linux/amd64',
    base: rig.base,
  });
  expect(image.layers.map(({ kind }) => kind)).toEqual(['base', 'engine', 'model', 'app']);
  expect(image.layers[0]).toMatchObject({ digest: rig.layers.amd64.digest, mediaType: mediaTypes.layerGzip });
  const { manifest, config } = await readImage(rig, image.digest);
  expect(manifest.layers[0]).toMatchObject({ digest: rig.layers.amd64.digest, mediaType: mediaTypes.layerGzip });
  expect(manifest.annotations).toMatchObject({
    'org.opencontainers.image.base.name': rig.base,
    'org.opencontainers.image.base.digest': rig.manifests.amd64,
  });
  expect(config.rootfs.diff_ids[0]).toBe(rig.layers.amd64.contentDigest);
  expect(config.config?.Env).toEqual([
    'PATH=/opt/own:/usr/local/bin',
    'NODE_VERSION=26.1.0',
    'NODE_ENV=production',
    'HOME=/tmp',
    'ORT_DISABLE_TELEMETRY=1',
    'MALLOC_ARENA_MAX=1',
    'MALLOC_TRIM_THRESHOLD_=1048576',
  ]);
});

test('createImage() for two platforms makes an index with the engine of each', async () => {
  await using rig = await baseRig();
  const { image } = await createImage(rig.workspace, {
    models: [{ name: 'digits' }],
    platform: 'linux/arm64,linux/amd64',
    base: rig.base,
  });
  expect(image.platform).toBe(both);
  const index = await rig.client.getManifest('digits', image.digest);
  if (index?.kind !== 'index') throw new Error('No index');
  expect(index.index.manifests.map(({ platform }) => platform?.architecture)).toEqual(['amd64', 'arm64']);
  const engines = image.layers.filter(({ kind }) => kind === 'engine');
  expect(engines.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/arm64']);
  expect(new Set(engines.map(({ digest }) => digest)).size).toBe(2);
  const models = image.layers.filter(({ kind }) => kind === 'model').map(({ digest }) => digest);
  expect(new Set(models).size).toBe(1);
  const again = await createImage(rig.workspace, { models: [{ name: 'digits' }], platform: both, base: rig.base });
  expect(again).toMatchObject({ created: false, bytesBuilt: 0, push: { bytesPushed: 0 } });
});

test('removeImage() removes the manifests of an index, but those that another version has', async () => {
  await using rig = await baseRig();
  const request = { models: [{ name: 'digits' }], base: rig.base };
  const single = await createImage(rig.workspace, { ...request, platform: 'linux/arm64' });
  const index = await createImage(rig.workspace, { ...request, platform: both });
  await removeImage(rig.workspace, { name: 'digits', version: index.image.version });
  const layout = await LayoutStore.open(rig.workspace.layoutFolder);
  expect(await layout.tags('digits')).toEqual(['1']);
  expect(await layout.resolve('digits', index.image.digest)).toBeUndefined();
  expect((await layout.resolve('digits', single.image.digest))?.digest).toBe(
    findImage(rig.workspace.database, { name: 'digits' }).digest,
  );
});

test('createImage() refuses a base that is not there, is for another platform, or has an old Node', async () => {
  await using rig = await baseRig();
  const models = [{ name: 'digits' }];
  const refusal = (base: string, platform = 'linux/amd64') => createImage(rig.workspace, { models, platform, base });
  await expect(refusal(`${rig.registry.host}/base:none`)).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
  await expect(refusal('UPPER CASE')).rejects.toMatchObject({ code: 'NAME_INVALID' });
  await expect(refusal(`${rig.registry.host}/base:amd64`, 'linux/arm64')).rejects.toMatchObject({
    code: 'PLATFORM_UNSUPPORTED',
    message: expect.stringContaining('it is for linux/amd64, linux/arm64 was wanted'),
  });
  await rig.pushBase('old', 'amd64', '20.1.0');
  await expect(refusal(`${rig.registry.host}/base:old`)).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
    message: expect.stringContaining('its Node is 20.1.0, 24 or later was wanted'),
  });
  await rig.pushBase('alpine', 'amd64', '26.1.0', ['/usr/bin/node', '/lib/ld-musl-x86_64.so.1']);
  await expect(refusal(`${rig.registry.host}/base:alpine`)).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
    message: expect.stringContaining(
      'it has no "/usr/local/bin/node", Node was wanted there; it is built on musl, glibc was wanted',
    ),
  });
});

test('exportContext() of an image for two platforms upon a base names the base of each by its digest', async () => {
  await using rig = await baseRig();
  const { image } = await createImage(rig.workspace, { models: [{ name: 'digits' }], platform: both, base: rig.base });
  const output = join(rig.folder, 'context');
  await exportContext(rig.workspace, image, { output });
  const lines = (await readFile(join(output, 'Dockerfile'), 'utf8')).split('\n');
  expect(lines.slice(1, 8)).toEqual([
    `FROM --platform=linux/amd64 ${rig.base}@${rig.manifests.amd64} AS base-amd64`,
    `FROM --platform=linux/arm64 ${rig.base}@${rig.manifests.arm64} AS base-arm64`,
    'FROM base-${TARGETARCH}',
    'ARG TARGETARCH',
    'COPY engine-${TARGETARCH}/ /',
    'COPY app/ /app/',
    'COPY models/ /models/',
  ]);
  expect((await readdir(output)).sort()).toEqual(['Dockerfile', 'app', 'engine-amd64', 'engine-arm64', 'models']);
  await expect(exportContext(rig.workspace, image, { output })).rejects.toMatchObject({ code: 'FILE_EXISTS' });
});

test('createImage() upon a base by digest takes that one, whatever the tag has become', async () => {
  await using rig = await baseRig();
  const request = { models: [{ name: 'digits' }], platform: 'linux/amd64' };
  const base = `${rig.registry.host}/base@${rig.manifests.amd64}`;
  const first = await createImage(rig.workspace, { ...request, base });
  await rig.pushBase('amd64', 'amd64', '26.2.0');
  const second = await createImage(rig.workspace, { ...request, base });
  expect(second).toMatchObject({ created: false, image: { digest: first.image.digest } });
  const moved = await createImage(rig.workspace, { ...request, base: `${rig.registry.host}/base:amd64` });
  expect(moved.image.digest).not.toBe(first.image.digest);
});

/** What every base must have. */
const basePaths = ['/usr/local/bin/node', '/lib64/ld-linux-x86-64.so.2'];

interface BaseLayer {
  readonly digest: Digest;
  readonly contentDigest: Digest;
}

interface BaseRig extends WorkspaceRig {
  readonly registry: Registry;
  readonly client: RegistryClient;
  /** Reference of an index for amd64 and arm64. */
  readonly base: string;
  readonly layers: Readonly<Record<'amd64' | 'arm64', BaseLayer>>;
  readonly manifests: Readonly<Record<'amd64' | 'arm64', Digest>>;
  pushBase(
    tag: string,
    architecture: string,
    nodeVersion: string,
    paths?: readonly string[],
  ): Promise<{ layer: BaseLayer; manifest: Uint8Array }>;
}

/** A workspace with the model `digits:1` and a registry that has a base for two platforms, of one gzip layer each. */
async function baseRig(): Promise<BaseRig> {
  const rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const log = createLogger('registry', { level: 'silent' });
  const registry = await startRegistry({ layoutDir: join(rig.folder, 'registry'), port: 0, log });
  await rig.workspace.setEndpoints({ registry: registry.host }, {});
  const client = new RegistryClient(registry.host);
  const pushBase: BaseRig['pushBase'] = async (tag, architecture, nodeVersion, paths = basePaths) => {
    const entries = [...paths, `/etc/base-${architecture}`].map((path) => ({ path, content: Buffer.from(tag) }));
    const content = Buffer.concat(
      await collect(tarLayer(entries.map((entry) => ({ kind: 'file' as const, ...entry })))),
    );
    const layer = gzipSync(content);
    const config = encodeJson({
      architecture,
      os: 'linux',
      config: { Env: ['PATH=/opt/own:/usr/local/bin', `NODE_VERSION=${nodeVersion}`, 'NODE_ENV=test'] },
      rootfs: { type: 'layers', diff_ids: [digestOf(content)] },
    });
    for (const bytes of [layer, config]) await pushBlob(client, bytes);
    const manifest = encodeJson({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
      layers: [{ mediaType: mediaTypes.layerGzip, digest: digestOf(layer), size: layer.byteLength }],
    });
    await client.putManifest('base', tag, { bytes: manifest, mediaType: mediaTypes.manifest });
    return { layer: { digest: digestOf(layer), contentDigest: digestOf(content) }, manifest };
  };
  const amd64 = await pushBase('amd64', 'amd64', '26.1.0');
  const arm64 = await pushBase('arm64', 'arm64', '26.1.0');
  const index = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: Object.entries({ amd64, arm64 }).map(([architecture, { manifest }]) => ({
      mediaType: mediaTypes.manifest,
      digest: digestOf(manifest),
      size: manifest.byteLength,
      platform: { os: 'linux', architecture },
    })),
  });
  await client.putManifest('base', '1', { bytes: index, mediaType: mediaTypes.index });
  return {
    ...rig,
    registry,
    client,
    base: `${registry.host}/base:1`,
    layers: { amd64: amd64.layer, arm64: arm64.layer },
    manifests: { amd64: digestOf(amd64.manifest), arm64: digestOf(arm64.manifest) },
    pushBase,
    [Symbol.asyncDispose]: async () => {
      await registry.close();
      await rig[Symbol.asyncDispose]();
    },
  };
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<readonly Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for await (const piece of source) pieces.push(piece);
  return pieces;
}

async function pushBlob(client: RegistryClient, bytes: Uint8Array): Promise<void> {
  const open = async function* (start: number, end: number): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(start, end);
  };
  await client.uploadBlob('base', { digest: digestOf(bytes), size: bytes.byteLength }, { open });
}

async function readImage(
  { workspace }: WorkspaceRig,
  digest: Digest,
): Promise<{ manifest: Manifest; config: ReturnType<typeof imageConfigSchema.parse> }> {
  const layout = await LayoutStore.open(workspace.layoutFolder);
  const document = await layout.readManifest('digits', digest);
  if (document?.kind !== 'manifest') throw new Error('No manifest');
  const { manifest } = document;
  const config: unknown = JSON.parse(Buffer.from(await layout.readBlob(manifest.config.digest)).toString());
  return { manifest, config: imageConfigSchema.parse(config) };
}
