import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestOf } from '../../../shared/digest.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import { UploadSessions } from '../../../shared/oci/upload-sessions.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { hasDebianRegistry, startDebianRegistry } from './debian-registry.ts';
import { startMisbehaving } from './misbehaving-registry.ts';

const chunkBytes = 1_000_000;
const source = (path: string): string => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href);

// Debian's gives a session up when a chunk of it breaks off, so there the upload is killed between two.
test.for([
  { whose: 'our own', moment: 'within a chunk' },
  { whose: 'our own', moment: 'between chunks' },
  { whose: "Debian's", moment: 'between chunks' },
] as const)(
  'an upload to $whose registry that was killed $moment is gone on with by another process',
  async ({ whose, moment }, { skip }) => {
    if (whose === "Debian's" && !hasDebianRegistry) skip('docker-registry is not installed');
    await using registry = whose === 'our own' ? await ownRegistry() : await startDebianRegistry();
    await using folder = await temporaryFolder();
    const bytes = randomBytes(8 * chunkBytes);
    const file = join(folder.path, 'blob');
    await writeFile(file, bytes);
    await killedUpload(folder.path, { host: registry.host, afterBytes: 3 * chunkBytes, moment });
    const kept = await readdir(join(folder.path, 'uploads'));
    expect(kept).toHaveLength(1);
    expect((await stat(join(folder.path, 'uploads', kept[0] ?? ''))).mode & 0o777).toBe(0o600);

    const blob = { digest: digestOf(bytes), size: bytes.byteLength };
    const starts: number[] = [];
    const client = new RegistryClient(registry.host);
    const open = (start: number, end: number): Iterable<Uint8Array> => {
      starts.push(start);
      return [bytes.subarray(start, end)];
    };
    const sessions = new UploadSessions(join(folder.path, 'uploads'));
    await client.uploadBlob(
      'digits',
      blob,
      { open: (start, end) => streamOf(open(start, end)) },
      { chunkBytes, sessions },
    );
    expect(starts[0]).toBeGreaterThanOrEqual(3 * chunkBytes);
    expect(await client.headBlob('digits', blob.digest)).toBe(blob.size);
    expect(await readdir(join(folder.path, 'uploads'))).toEqual([]);
  },
);

test('an upload that the registry has forgotten meanwhile begins anew', async () => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, 'blob'), randomBytes(4 * chunkBytes));
  {
    await using registry = await ownRegistry();
    await killedUpload(folder.path, { host: registry.host, afterBytes: 2 * chunkBytes, moment: 'between chunks' });
  }
  // Another registry stands where the one was that knew it.
  await using registry = await ownRegistry();
  const [kept = ''] = await readdir(join(folder.path, 'uploads'));
  const bytes = randomBytes(4 * chunkBytes);
  const blob = { digest: digestOf(bytes), size: bytes.byteLength };
  const name = `${registry.host}/digits@${blob.digest}`;
  const renamed = kept.replace(/[0-9a-f]{64}$/, digestOf(name).slice('sha256:'.length));
  await writeFile(join(folder.path, 'uploads', renamed), `http://${registry.host}/v2/digits/blobs/uploads/gone`);
  const client = new RegistryClient(registry.host);
  const sessions = new UploadSessions(join(folder.path, 'uploads'));
  const open = (start: number, end: number): AsyncIterable<Uint8Array> => streamOf([bytes.subarray(start, end)]);
  await client.uploadBlob('digits', blob, { open }, { chunkBytes, sessions });
  expect(await client.headBlob('digits', blob.digest)).toBe(blob.size);
});

test('an upload is not taken from a process that still runs', async () => {
  await using folder = await temporaryFolder();
  const [one, other] = [new UploadSessions(folder.path), new UploadSessions(folder.path)];
  await one.keep('digits', new URL('http://localhost/1'));
  expect(await other.claim('digits')).toBeUndefined();
});

test('a registry that lists no referrers has them under the tag of their subject', async () => {
  const manifests = new Map<string, string>();
  await using registry = await startMisbehaving((request, response) => {
    const [, tag = ''] = /\/manifests\/(.+)$/.exec(request.url ?? '') ?? [];
    const take = async (): Promise<void> => {
      const body = Buffer.concat(await request.toArray()).toString();
      if (request.method === 'PUT') {
        manifests.set(tag, body);
        response.writeHead(201).end();
      } else if (manifests.has(tag)) {
        response.writeHead(200, { 'content-type': 'application/vnd.oci.image.index.v1+json' }).end(manifests.get(tag));
      } else response.writeHead(404).end();
    };
    void take();
  });
  const client = new RegistryClient(registry.host);
  const subject = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestOf('image'), size: 5 };
  const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf('{}'), size: 2 };
  const referrer = (type: string): { bytes: Uint8Array; mediaType: string } => {
    const { mediaType } = subject;
    const manifest = { schemaVersion: 2, mediaType, artifactType: type, config: empty, layers: [], subject };
    return { bytes: Buffer.from(JSON.stringify({ ...manifest, annotations: { about: type } })), mediaType };
  };
  for (const type of ['text/sbom', 'text/signature', 'text/sbom']) {
    await client.putManifest('digits', undefined, referrer(type));
  }
  expect(manifests.get(subject.digest.replace(':', '-'))).toBeDefined();
  expect(await client.referrers('digits', subject.digest)).toMatchObject([
    { artifactType: 'text/sbom', annotations: { about: 'text/sbom' }, digest: digestOf(referrer('text/sbom').bytes) },
    { artifactType: 'text/signature' },
  ]);
  expect(await client.referrers('digits', subject.digest, { artifactType: 'text/sbom' })).toHaveLength(1);
});

async function ownRegistry(): Promise<{ readonly host: string } & AsyncDisposable> {
  const rig = await startRig();
  return { host: rig.registry.host, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

async function* streamOf(pieces: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  yield* pieces;
}

/** Uploads the file `blob` of a folder in a process of its own, which is killed once the registry has so many bytes. */
async function killedUpload(
  folder: string,
  how: { readonly host: string; readonly afterBytes: number; readonly moment: 'within a chunk' | 'between chunks' },
): Promise<void> {
  const { host, afterBytes, moment } = how;
  // A chunk's end is told when it is sent, and again when it is answered.
  const [bytes, times] = moment === 'between chunks' ? [afterBytes, 2] : [afterBytes + chunkBytes / 2, 1];
  const program = `
    import { readFile } from 'node:fs/promises';
    import { digestOf } from ${source('shared/digest.ts')};
    import { RegistryClient } from ${source('shared/oci/registry-client.ts')};
    import { UploadSessions } from ${source('shared/oci/upload-sessions.ts')};
    const bytes = await readFile(${JSON.stringify(join(folder, 'blob'))});
    const open = async function* (start, end) {
      for (let at = start; at < end; at += ${chunkBytes / 2}) yield bytes.subarray(at, at + ${chunkBytes / 2});
    };
    let times = 0;
    await new RegistryClient('${host}').uploadBlob('digits', { digest: digestOf(bytes), size: bytes.length }, { open }, {
      chunkBytes: ${chunkBytes},
      sessions: new UploadSessions(${JSON.stringify(join(folder, 'uploads'))}),
      onProgress: (sent) => { if (sent === ${bytes} && ++times === ${times}) process.kill(process.pid, 'SIGKILL'); },
    });`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], { stdio: 'inherit' });
  expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
}
