import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { digestOf } from '../../../shared/digest.ts';
import { encodeJson } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { RegistryClient } from '../../../shared/oci/registry-client.ts';
import type { Expected } from '../../../shared/oci/verified.ts';
import { startRig } from '../../simulators/registry/rig.ts';
import { hasDebianRegistry, startDebianRegistry } from './debian-registry.ts';
import { impatientClock } from './impatient-clock.ts';
import { bodyOf, startMisbehaving } from './misbehaving-registry.ts';

/** The registries that the client has to get on with. */
const registries = ['our', "Debian's"] as const;

async function startRegistryOf(
  whose: (typeof registries)[number],
  skip: (why: string) => never,
): Promise<{ readonly host: string } & AsyncDisposable> {
  if (whose === "Debian's") return hasDebianRegistry ? startDebianRegistry() : skip('docker-registry is not installed');
  const rig = await startRig();
  return { host: rig.registry.host, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

test.for(registries)(
  'RegistryClient pushes and pulls blobs and manifests with %s registry',
  async (whose, { skip }) => {
    await using registry = await startRegistryOf(whose, skip);
    const client = new RegistryClient(registry.host);
    await client.ping();
    const layer = Buffer.from('a layer');
    const config = encodeJson({});
    await client.uploadBlob('models/digits', expectedOf(layer), sourceOf(layer));
    await client.uploadBlob('models/digits', expectedOf(config), sourceOf(config));
    expect(await client.headBlob('models/digits', digestOf(layer))).toBe(layer.byteLength);
    expect(await client.headBlob('models/digits', digestOf('nothing'))).toBeUndefined();
    expect(await textOf(client.readBlob('models/digits', expectedOf(layer)))).toBe('a layer');
    expect(await textOf(client.readBlobFrom('models/digits', expectedOf(layer), { start: 2 }))).toBe('layer');

    const bytes = manifestOf(config, layer);
    const digest = await client.putManifest('models/digits', '1', { bytes, mediaType: mediaTypes.manifest });
    expect(digest).toBe(digestOf(bytes));
    const descriptor = { digest, size: bytes.byteLength, mediaType: mediaTypes.manifest };
    expect(await client.headManifest('models/digits', '1')).toEqual(descriptor);
    expect(await client.getManifest('models/digits', digest)).toMatchObject({ kind: 'manifest', descriptor });
    expect(await client.getManifest('models/digits', '2')).toBeUndefined();
    expect(await client.headManifest('models/none', '1')).toBeUndefined();

    expect(await client.mountBlob('digits', { digest: digestOf(layer), from: 'models/digits' })).toBe(true);
    expect(await client.headBlob('digits', digestOf(layer))).toBe(layer.byteLength);
    expect(await client.mountBlob('digits', { digest: digestOf('nothing'), from: 'models/digits' })).toBe(false);

    for (const tag of ['2', '3'])
      await client.putManifest('models/digits', tag, { bytes, mediaType: mediaTypes.manifest });
    expect(await client.tags('models/digits')).toEqual(['1', '2', '3']);
    expect(await client.tags('never/was')).toEqual([]);
    expect(await client.deleteManifest('models/digits', digest)).toBe(true);
    expect(await client.headManifest('models/digits', '1')).toBeUndefined();
    expect(await client.deleteManifest('models/digits', digest)).toBe(false);
  },
);

test.for(registries)(
  'RegistryClient pushes a large blob in chunks, and an empty one, to %s registry',
  async (whose, { skip }) => {
    await using registry = await startRegistryOf(whose, skip);
    const client = new RegistryClient(registry.host);
    const large = randomBytes(2_500_000);
    const progress: number[] = [];
    const options = { chunkBytes: 1_000_000, onProgress: (bytes: number) => void progress.push(bytes) };
    await client.uploadBlob('digits', expectedOf(large), sourceOf(large, 100_000), options);
    expect(progress.at(-1)).toBe(large.byteLength);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(digestOf(await bytesOf(client.readBlob('digits', expectedOf(large))))).toBe(digestOf(large));

    const empty = new Uint8Array();
    await client.uploadBlob('digits', expectedOf(empty), sourceOf(empty));
    expect(await textOf(client.readBlob('digits', expectedOf(empty)))).toBe('');
  },
);

test.for(registries)('RegistryClient passes on why %s registry refused', async (whose, { skip }) => {
  await using registry = await startRegistryOf(whose, skip);
  const client = new RegistryClient(registry.host);
  const wrong = { digest: digestOf('other'), size: 5 };
  await expect(client.uploadBlob('digits', wrong, sourceOf(Buffer.from('layer')))).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringMatching(/400 DIGEST_INVALID/),
  });
});

test('RegistryClient lists tags over several pages and referrers of one type', async () => {
  await using rig = await startRig();
  const subject = await rig.pushImage('digits', '1', 'weights');
  const more = { subject: { mediaType: mediaTypes.manifest, digest: subject, size: 1 }, artifactType: 'text/sbom' };
  const sbom = await rig.pushImage('digits', '2', 'sbom', more);
  const client = new RegistryClient(rig.registry.host);
  expect(await client.referrers('digits', subject)).toMatchObject([{ digest: sbom }]);
  expect(await client.referrers('digits', subject, { artifactType: 'text/sbom' })).toHaveLength(1);
  expect(await client.referrers('digits', subject, { artifactType: 'other' })).toEqual([]);
});

test('RegistryClient follows the links of a registry that lists tags in pages', async () => {
  await using registry = await startMisbehaving((request, response) => {
    const isFirst = request.url === '/v2/digits/tags/list';
    response.setHeader('link', isFirst ? '</v2/digits/tags/list?n=1&last=1>; rel="next"' : '');
    response.end(JSON.stringify({ name: 'digits', tags: [isFirst ? '1' : '2'] }));
  });
  expect(await new RegistryClient(registry.host).tags('digits')).toEqual(['1', '2']);
});

test('RegistryClient says the address of a registry that is not there', async () => {
  const registry = await startMisbehaving(() => undefined);
  const { host } = registry;
  await registry[Symbol.asyncDispose]();
  const clock = impatientClock();
  await expect(new RegistryClient(host, { clock }).ping()).rejects.toMatchObject({
    code: 'REGISTRY_UNREACHABLE',
    message: expect.stringContaining(host),
  });
  expect(clock.sleptMs).toEqual([100, 300, 1000, 3000]);
});

test('RegistryClient repeats what is answered 429 and 503, and waits as long as it is asked to', async () => {
  const answers = [
    { status: 429, retryAfter: '7' },
    { status: 503, retryAfter: undefined },
    { status: 503, retryAfter: '9999' },
    { status: 200, retryAfter: undefined },
  ];
  await using registry = await startMisbehaving((_request, response) => {
    const { status = 500, retryAfter } = answers.shift() ?? {};
    response.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': retryAfter }).end('{}');
  });
  const clock = impatientClock();
  await new RegistryClient(registry.host, { clock }).ping();
  expect(clock.sleptMs).toEqual([7000, 300, 60_000]);
});

test('RegistryClient gives up with the last answer when it stays the same', async () => {
  await using registry = await startMisbehaving((_request, response) => {
    response.writeHead(503).end('{"errors":[{"code":"UNAVAILABLE","message":"later"}]}');
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  await expect(client.headBlob('digits', digestOf('x'))).rejects.toMatchObject({ code: 'REGISTRY_REFUSED' });
  await expect(client.getManifest('digits', '1')).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringContaining('503 UNAVAILABLE "later", 200 or 404 was wanted'),
  });
  expect(registry.asked).toHaveLength(10);
});

test('RegistryClient does not repeat what will not change', async () => {
  await using registry = await startMisbehaving((_request, response) => void response.writeHead(403).end('<html>'));
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  await expect(client.getManifest('digits', '1')).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringContaining('it answered 403'),
    next: expect.stringContaining(registry.host),
  });
  expect(registry.asked).toHaveLength(1);
});

test('RegistryClient goes on with a download where it broke off', async () => {
  const blob = randomBytes(300_000);
  await using registry = await startMisbehaving((request, response) => {
    const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const headers = { 'content-length': blob.byteLength - start, 'content-range': `bytes ${start}-299999/300000` };
    response.writeHead(start === 0 ? 200 : 206, headers);
    // Each answer breaks off after 100,000 bytes, but the last.
    response.write(blob.subarray(start, start + 100_000), () => {
      if (start + 100_000 >= blob.byteLength) response.end();
      else setTimeout(() => response.destroy(), 20);
    });
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  expect(digestOf(await bytesOf(client.readBlob('digits', expectedOf(blob))))).toBe(digestOf(blob));
  expect(registry.asked).toHaveLength(3);
});

test('RegistryClient goes on with a download from a registry that knows no ranges', async () => {
  const blob = randomBytes(200_000);
  let answers = 0;
  await using registry = await startMisbehaving((_request, response) => {
    answers += 1;
    response.writeHead(200, { 'content-length': blob.byteLength });
    if (answers > 1) response.end(blob);
    else response.write(blob.subarray(0, 50_000), () => setTimeout(() => response.destroy(), 20));
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  expect(digestOf(await bytesOf(client.readBlob('digits', expectedOf(blob))))).toBe(digestOf(blob));
});

test('RegistryClient ends a download that breaks off again and again', async () => {
  await using registry = await startMisbehaving((_request, response) => {
    response.writeHead(200, { 'content-length': 10 });
    response.flushHeaders();
    setTimeout(() => response.destroy(), 5);
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  await expect(bytesOf(client.readBlob('digits', expectedOf(Buffer.from('0123456789'))))).rejects.toMatchObject({
    code: 'REGISTRY_UNREACHABLE',
    message: expect.stringContaining('at byte 0 of 10'),
  });
});

test('RegistryClient refuses bytes that are not what was asked for: other, more, or fewer', async () => {
  const blob = Buffer.from('0123456789');
  for (const lie of ['9876543210', '01234567890', '01234']) {
    await using registry = await startMisbehaving((_request, response) => void response.end(lie));
    const client = new RegistryClient(registry.host, { clock: impatientClock() });
    await expect(bytesOf(client.readBlob('digits', expectedOf(blob)))).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining(registry.host),
    });
  }
});

test('RegistryClient refuses a manifest that is not what was asked for, too large, or none', async () => {
  const manifest = Buffer.from(manifestOf(Buffer.from('{}'), Buffer.from('layer')));
  let answer: { body: string | Buffer; headers: Record<string, string> } = { body: '', headers: {} };
  await using registry = await startMisbehaving((_request, response) => {
    response.writeHead(200, { 'content-type': mediaTypes.manifest, ...answer.headers }).end(answer.body);
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  const code = async (reference: string): Promise<unknown> =>
    client.getManifest('digits', reference).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    );
  answer = { body: manifest, headers: {} };
  expect(await code(digestOf(manifest))).toBe('taken');
  expect(await code(digestOf('other'))).toBe('DIGEST_MISMATCH');
  answer = { body: manifest, headers: { 'docker-content-digest': digestOf('other') } };
  expect(await code('1')).toBe('DIGEST_MISMATCH');
  answer = { body: manifest, headers: { 'content-type': mediaTypes.index } };
  expect(await code('1')).toBe('IMAGE_INVALID');
  answer = { body: '{}', headers: {} };
  expect(await code('1')).toBe('IMAGE_INVALID');
  answer = { body: Buffer.alloc(5 * 1024 * 1024), headers: {} };
  expect(await code('1')).toBe('REGISTRY_REFUSED');
});

test('RegistryClient refuses a registry that says it stored something else', async () => {
  await using registry = await startMisbehaving((request, response) => {
    request.resume();
    request.on('end', () => {
      const headers = { location: '/v2/digits/blobs/uploads/1', 'docker-content-digest': digestOf('other') };
      response.writeHead(request.method === 'POST' ? 202 : 201, headers).end();
    });
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  const layer = Buffer.from('layer');
  await expect(client.uploadBlob('digits', expectedOf(layer), sourceOf(layer))).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
  });
  const manifest = { bytes: manifestOf(layer, layer), mediaType: mediaTypes.manifest };
  await expect(client.putManifest('digits', '1', manifest)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});

test('RegistryClient ends when nothing moves: no answer, or a stalled body', async () => {
  await using registry = await startMisbehaving((request, response) => {
    if (request.url?.includes('/blobs/') === true) response.writeHead(200, { 'content-length': 10 }).write('01234');
  });
  const client = new RegistryClient(registry.host, { idleMsMax: 50, clock: impatientClock() });
  await expect(client.ping()).rejects.toMatchObject({
    code: 'TIMEOUT',
    message: expect.stringContaining('nothing moved for 50 ms'),
  });
  const blob = expectedOf(Buffer.from('0123456789'));
  await expect(bytesOf(client.readBlob('digits', blob))).rejects.toMatchObject({ code: 'TIMEOUT' });
});

test('RegistryClient ends with its signal', async () => {
  await using registry = await startMisbehaving(() => undefined);
  const given = new AbortController();
  const asked = new RegistryClient(registry.host).ping({ signal: given.signal });
  given.abort(new Error('given up'));
  await expect(asked).rejects.toThrow('given up');
});

test('RegistryClient goes on with an upload where the registry says that it is', async () => {
  const blob = randomBytes(250_000);
  const stored: string[] = [];
  let received = Buffer.alloc(0);
  let breaks = 1;
  await using registry = await startMisbehaving((request, response) => {
    const location = '/v2/digits/blobs/uploads/1?state=x';
    if (request.method === 'POST') response.writeHead(202, { location }).end();
    else if (request.method === 'GET') {
      response.writeHead(204, { location, range: `0-${received.byteLength - 1}` }).end();
    } else if (request.method === 'PATCH') {
      request.on('data', (piece: Buffer) => {
        received = Buffer.concat([received, piece]);
        if (received.byteLength > 120_000 && breaks > 0) {
          breaks -= 1;
          request.destroy();
        }
      });
      request.on('end', () => response.writeHead(202, { location }).end());
    } else {
      stored.push(request.url ?? '');
      response.writeHead(201).end();
    }
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  const options = { chunkBytes: 100_000 };
  await client.uploadBlob('digits', expectedOf(blob), sourceOf(blob, 10_000), options);
  expect(digestOf(received)).toBe(digestOf(blob));
  expect(stored).toEqual([`/v2/digits/blobs/uploads/1?state=x&digest=${encodeURIComponent(digestOf(blob))}`]);
  expect(registry.asked.filter((request) => request.startsWith('GET'))).toHaveLength(1);
});

test('RegistryClient begins again with an upload that the registry has forgotten', async () => {
  const blob = Buffer.from('0123456789');
  let sessions = 0;
  let received = '';
  await using registry = await startMisbehaving((request, response) => {
    const answer = async (): Promise<void> => {
      const body = await bodyOf(request);
      if (request.method === 'POST') {
        sessions += 1;
        received = '';
        response.writeHead(202, { location: `/v2/digits/blobs/uploads/${sessions}` }).end();
      } else if (request.method === 'GET') response.writeHead(404).end();
      else if (sessions === 1 && received.length > 0) response.writeHead(503).end();
      else {
        received += body;
        response.writeHead(request.method === 'PUT' ? 201 : 202).end();
      }
    };
    void answer();
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  await client.uploadBlob('digits', expectedOf(blob), sourceOf(blob), { chunkBytes: 4 });
  expect(received).toBe('0123456789');
  expect(sessions).toBe(2);
});

test('RegistryClient does not push to a registry that is full again and again', async () => {
  await using registry = await startMisbehaving((request, response) => {
    request.resume();
    const status = { POST: 202, DELETE: 204 }[request.method ?? ''] ?? 507;
    request.on('end', () => response.writeHead(status, { location: '/v2/digits/blobs/uploads/1' }).end());
  });
  const client = new RegistryClient(registry.host, { clock: impatientClock() });
  const layer = Buffer.from('layer');
  await expect(client.uploadBlob('digits', expectedOf(layer), sourceOf(layer))).rejects.toMatchObject({
    code: 'REGISTRY_REFUSED',
    message: expect.stringContaining('507'),
  });
  expect(registry.asked.map((request) => request.split(' ')[0])).toEqual(['POST', 'PUT', 'DELETE']);
});

function expectedOf(bytes: Uint8Array): Expected {
  return { digest: digestOf(bytes), size: bytes.byteLength };
}

function sourceOf(
  bytes: Uint8Array,
  pieceBytes = 1000,
): { open(start: number, end: number): AsyncIterable<Uint8Array> } {
  return {
    async *open(start, end) {
      for (let at = start; at < end; at += pieceBytes) yield bytes.subarray(at, Math.min(end, at + pieceBytes));
    },
  };
}

function manifestOf(config: Uint8Array, layer: Uint8Array): Uint8Array {
  return encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, ...expectedOf(config) },
    layers: [{ mediaType: mediaTypes.layer, ...expectedOf(layer) }],
  });
}

async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of source) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function textOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  return (await bytesOf(source)).toString();
}
