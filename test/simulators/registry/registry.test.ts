import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digestOf } from '../../../shared/digest.ts';
import { createLogger } from '../../../shared/log.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { startRegistry } from '../../../simulators/registry/registry.ts';
import { smallImage } from '../../shared/oci/small-image.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { expectStatus, manifestType, startRig } from './rig.ts';

const log = createLogger('registry', { level: 'silent' });

test('startRegistry() is ready within 50 ms and answers /v2/', async () => {
  await using folder = await temporaryFolder();
  const tookMs: number[] = [];
  // The best of some: what else the machine does is not the registry's.
  for (let start = 0; start < 5; start += 1) {
    const startMs = performance.now();
    await using registry = await startRegistry({ layoutDir: folder.path, port: 0, log });
    tookMs.push(performance.now() - startMs);
    const response = await fetch(`http://${registry.host}/v2/`);
    expect(response.status).toBe(200);
    expect(response.headers.get('docker-distribution-api-version')).toBe('registry/2.0');
  }
  expect(Math.min(...tookMs)).toBeLessThan(50);
});

test('startRegistry() refuses a port that is taken and a layout that is served', async () => {
  await using rig = await startRig();
  await using folder = await temporaryFolder();
  const { port } = rig.registry;
  await expect(startRegistry({ layoutDir: folder.path, port, log })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
  await expect(startRegistry({ layoutDir: rig.layoutDir, port: 0, log })).rejects.toMatchObject({ code: 'IN_USE' });
});

test('startRegistry() serves what another program writes to the layout, at once', async () => {
  await using rig = await startRig();
  const store = await LayoutStore.open(rig.layoutDir);
  const image = await smallImage(store, 'models/digits', '1');
  const response = await expectStatus(200, rig.ask('GET', 'models/digits/manifests/1'));
  expect(response.headers.get('docker-content-digest')).toBe(image.digest);
  const manifest = (await response.json()) as { layers: { digest: string; size: number }[] };
  const [layer] = manifest.layers;
  const blob = await expectStatus(200, rig.ask('GET', `models/digits/blobs/${layer?.digest}`));
  expect(digestOf(new Uint8Array(await blob.arrayBuffer()))).toBe(layer?.digest);
});

test('what the registry stores is in the layout, where another program reads it', async () => {
  await using rig = await startRig();
  const digest = await rig.pushImage('models/digits', '1', 'weights');
  const store = await LayoutStore.open(rig.layoutDir);
  expect(await store.resolve('models/digits', '1')).toMatchObject({ digest, mediaType: manifestType });
  expect(await store.tags('models/digits')).toEqual(['1']);
});

test('a blob is shown only by repositories that have it', async () => {
  await using rig = await startRig();
  const digest = await rig.pushBlob('one', 'weights');
  await expectStatus(200, rig.ask('HEAD', `one/blobs/${digest}`));
  await expectStatus(404, rig.ask('HEAD', `two/blobs/${digest}`));
  const refused = await rig.ask('GET', `two/blobs/${digest}`);
  expect(await refused.json()).toMatchObject({ errors: [{ code: 'BLOB_UNKNOWN' }] });
});

test('a blob is mounted from a repository that shows it, and only from that', async () => {
  await using rig = await startRig();
  await rig.pushImage('models/digits', '1', 'weights');
  const digest = digestOf('weights');
  const mounted = await expectStatus(201, rig.ask('POST', `digits/blobs/uploads/?mount=${digest}&from=models/digits`));
  expect(mounted.headers.get('location')).toBe(`/v2/digits/blobs/${digest}`);
  await expectStatus(200, rig.ask('HEAD', `digits/blobs/${digest}`));
  const upload = await expectStatus(202, rig.ask('POST', `other/blobs/uploads/?mount=${digest}&from=never/was`));
  expect(upload.headers.get('location')).toMatch(/^\/v2\/other\/blobs\/uploads\/.+/);
  await expectStatus(404, rig.ask('HEAD', `other/blobs/${digest}`));
});

test('a blob is pushed with POST and PUT', async () => {
  await using rig = await startRig();
  const begun = await expectStatus(202, rig.ask('POST', 'digits/blobs/uploads/'));
  const path = pathOf(begun);
  const put = await expectStatus(201, rig.ask('PUT', `${path}?digest=${digestOf('weights')}`, { body: 'weights' }));
  expect(put.headers.get('docker-content-digest')).toBe(digestOf('weights'));
  const blob = await expectStatus(200, rig.ask('GET', `digits/blobs/${digestOf('weights')}`));
  expect(await blob.text()).toBe('weights');
  await expectStatus(404, rig.ask('GET', path));
});

test('a blob is pushed in chunks, which must follow each other', async () => {
  await using rig = await startRig();
  const path = pathOf(await expectStatus(202, rig.ask('POST', 'digits/blobs/uploads/')));
  const chunk = (body: string, range: string): Promise<Response> =>
    rig.ask('PATCH', path, { body, headers: { 'content-range': range } });
  const first = await expectStatus(202, chunk('wei', '0-2'));
  expect(first.headers.get('range')).toBe('0-2');
  const gap = await expectStatus(416, chunk('hts', '4-6'));
  expect(gap.headers.get('range')).toBe('0-2');
  await expectStatus(416, chunk('gh', '3-9'));
  expect((await expectStatus(204, rig.ask('GET', path))).headers.get('range')).toBe('0-2');
  await expectStatus(202, chunk('gh', '3-4'));
  await expectStatus(201, rig.ask('PUT', `${path}?digest=${digestOf('weights')}`, { body: 'ts' }));
  expect(await (await rig.ask('GET', `digits/blobs/${digestOf('weights')}`)).text()).toBe('weights');
});

test('an upload goes on after its request was cut off', async () => {
  await using rig = await startRig();
  const path = pathOf(await expectStatus(202, rig.ask('POST', 'digits/blobs/uploads/')));
  const socket = connect(rig.registry.port, '127.0.0.1');
  socket.write(`PATCH /v2/${path} HTTP/1.1\r\nHost: registry\r\nContent-Length: 100\r\n\r\nwei`);
  await until(async () => (await rig.ask('GET', path)).headers.get('range') === '0-2', { what: 'three bytes' });
  await expectStatus(409, rig.ask('PATCH', path, { body: 'x' }));
  socket.destroy();
  await until(async () => (await rig.ask('PATCH', path, { body: 'ghts' })).status === 202, {
    what: 'the break noticed',
  });
  const put = await rig.ask('PUT', `${path}?digest=${digestOf('weights')}`);
  expect(put.status).toBe(201);
});

test('bytes of another digest are refused and kept nowhere', async () => {
  await using rig = await startRig();
  const wrong = digestOf('other');
  const refused = await rig.ask('POST', `digits/blobs/uploads/?digest=${wrong}`, { body: 'weights' });
  expect(refused.status).toBe(400);
  expect(await refused.json()).toMatchObject({ errors: [{ code: 'DIGEST_INVALID' }] });
  const path = pathOf(await rig.ask('POST', 'digits/blobs/uploads/'));
  await expectStatus(400, rig.ask('PUT', `${path}?digest=${wrong}`, { body: 'weights' }));
  await expectStatus(404, rig.ask('GET', path));
  await expectStatus(404, rig.ask('HEAD', `digits/blobs/${wrong}`));
  expect(await readdir(join(rig.layoutDir, 'blobs', 'sha256'))).toEqual([]);
  expect(await readdir(join(rig.layoutDir, '.registry', 'uploads'))).toEqual([]);
});

test('an upload is cancelled', async () => {
  await using rig = await startRig();
  const path = pathOf(await rig.ask('POST', 'digits/blobs/uploads/'));
  await expectStatus(202, rig.ask('PATCH', path, { body: 'wei' }));
  await expectStatus(404, rig.ask('GET', path.replace('digits', 'other')));
  await expectStatus(204, rig.ask('DELETE', path));
  await expectStatus(404, rig.ask('PATCH', path, { body: 'ghts' }));
  expect(await readdir(join(rig.layoutDir, '.registry', 'uploads'))).toEqual([]);
});

test.each([
  ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
  ['bytes=7-', 206, '789', 'bytes 7-9/10'],
  ['bytes=-3', 206, '789', 'bytes 7-9/10'],
  ['bytes=-30', 206, '0123456789', 'bytes 0-9/10'],
  ['bytes=8-100', 206, '89', 'bytes 8-9/10'],
  ['bytes=0-0,2-3', 200, '0123456789', null],
  ['bytes=5-2', 200, '0123456789', null],
  ['lines=1-2', 200, '0123456789', null],
])('a blob is read with the range %s', async (range, status, body, contentRange) => {
  await using rig = await startRig();
  const digest = await rig.pushBlob('digits', '0123456789');
  const response = await expectStatus(status, rig.ask('GET', `digits/blobs/${digest}`, { headers: { range } }));
  expect(response.headers.get('content-range')).toBe(contentRange);
  expect(await response.text()).toBe(body);
});

test('a range behind the end of a blob is refused with its size', async () => {
  await using rig = await startRig();
  const digest = await rig.pushBlob('digits', '0123456789');
  const response = await rig.ask('GET', `digits/blobs/${digest}`, { headers: { range: 'bytes=10-' } });
  expect(response.status).toBe(416);
  expect(response.headers.get('content-range')).toBe('bytes */10');
});

test('what the client has already is not sent again', async () => {
  await using rig = await startRig();
  const digest = await rig.pushImage('digits', '1', 'weights');
  const headers = { 'if-none-match': `"${digest}"` };
  await expectStatus(304, rig.ask('GET', 'digits/manifests/1', { headers }));
  await rig.pushImage('digits', '1', 'other weights');
  expect((await rig.ask('GET', 'digits/manifests/1', { headers })).status).toBe(200);
});

test('HEAD answers as GET does, without a body', async () => {
  await using rig = await startRig();
  const manifest = await rig.pushImage('digits', '1', 'weights');
  for (const path of ['digits/manifests/1', `digits/manifests/${manifest}`, `digits/blobs/${digestOf('weights')}`]) {
    const [head, get] = await Promise.all([rig.ask('HEAD', path), rig.ask('GET', path)]);
    expect(head.status).toBe(200);
    for (const name of ['content-length', 'content-type', 'docker-content-digest', 'etag']) {
      expect(head.headers.get(name)).toBe(get.headers.get(name));
    }
    expect(await head.text()).toBe('');
  }
});

test('a manifest is refused with the right code', async () => {
  await using rig = await startRig();
  const good = await rig.pushImage('digits', '1', 'weights');
  const manifest = JSON.parse(await (await rig.ask('GET', `digits/manifests/${good}`)).text()) as { layers: object[] };
  const refusalOf = async (reference: string, body: unknown, type = manifestType): Promise<[number, string]> => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await rig.ask('PUT', `digits/manifests/${reference}`, {
      headers: { 'content-type': type },
      body: text,
    });
    const { errors } = (await response.json()) as { errors: [{ code: string }] };
    return [response.status, errors[0].code];
  };
  const missing = { ...manifest, layers: [{ ...manifest.layers[0], digest: digestOf('nowhere') }] };
  const wrongSize = { ...manifest, layers: [{ ...manifest.layers[0], size: 8 }] };
  expect(await refusalOf('2', '{')).toEqual([400, 'MANIFEST_INVALID']);
  expect(await refusalOf('2', { ...manifest, layers: 'none' })).toEqual([400, 'MANIFEST_INVALID']);
  expect(await refusalOf('2', { ...manifest, mediaType: 'text/plain' })).toEqual([400, 'MANIFEST_INVALID']);
  expect(await refusalOf('2', manifest, 'text/plain')).toEqual([415, 'MANIFEST_INVALID']);
  expect(await refusalOf(digestOf('other'), manifest)).toEqual([400, 'DIGEST_INVALID']);
  expect(await refusalOf('2', missing)).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
  expect(await refusalOf('2', wrongSize)).toEqual([400, 'SIZE_INVALID']);
  expect(await refusalOf('2', ' '.repeat(5 * 1024 * 1024))).toEqual([413, 'MANIFEST_INVALID']);
  expect(await refusalOf('-2', manifest)).toEqual([400, 'MANIFEST_INVALID']);
  expect(await (await LayoutStore.open(rig.layoutDir)).tags('digits')).toEqual(['1']);
});

test.each([
  ['GET', 'digits/manifests/2', 404, 'MANIFEST_UNKNOWN'],
  ['GET', 'other/manifests/1', 404, 'NAME_UNKNOWN'],
  ['GET', 'other/tags/list', 404, 'NAME_UNKNOWN'],
  ['GET', 'Digits/manifests/1', 400, 'NAME_INVALID'],
  ['GET', 'digits/blobs/sha256:12', 400, 'DIGEST_INVALID'],
  ['GET', 'digits/tags/list?n=many', 400, 'UNSUPPORTED'],
  ['GET', 'digits/blobs/uploads/nothing', 404, 'BLOB_UPLOAD_UNKNOWN'],
  ['PUT', 'digits/blobs/uploads/nothing?digest=sha256:1', 404, 'BLOB_UPLOAD_UNKNOWN'],
  ['POST', 'digits/manifests/1', 405, 'UNSUPPORTED'],
  ['GET', 'digits/..%2f..%2fetc/tags/list', 400, 'NAME_INVALID'],
  ['GET', '%zz/tags/list', 400, 'NAME_INVALID'],
  ['GET', 'somewhere', 404, 'UNSUPPORTED'],
])('%s %s is refused', async (method, path, status, code) => {
  await using rig = await startRig();
  await rig.pushImage('digits', '1', 'weights');
  const response = await rig.ask(method, path);
  expect(response.status).toBe(status);
  expect(await response.json()).toMatchObject({ errors: [{ code, message: expect.any(String) }] });
});

test('tags are listed in pages, sorted', async () => {
  await using rig = await startRig();
  for (const tag of ['2', '10', 'latest', '1']) await rig.pushImage('models/digits', tag, 'weights');
  const pages: string[][] = [];
  let next: string | undefined = 'models/digits/tags/list?n=3';
  while (next !== undefined) {
    const response = await expectStatus(200, rig.ask('GET', next));
    pages.push(((await response.json()) as { tags: string[] }).tags);
    next = /^<\/v2\/(.+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
  }
  expect(pages).toEqual([['1', '10', '2'], ['latest']]);
  expect(await (await rig.ask('GET', 'models/digits/tags/list?n=0')).json()).toMatchObject({ tags: [] });
});

test('the catalog lists repositories', async () => {
  await using rig = await startRig();
  await rig.pushImage('models/digits', '1', 'weights');
  await rig.pushImage('digits', '1', 'weights');
  expect(await (await rig.ask('GET', '_catalog')).json()).toEqual({ repositories: ['digits', 'models/digits'] });
});

test('referrers of a manifest are listed, all or of one type', async () => {
  await using rig = await startRig();
  const subject = await rig.pushImage('digits', '1', 'weights');
  const descriptor = { mediaType: manifestType, digest: subject, size: 1 };
  const more = { subject: descriptor, artifactType: 'application/spdx+json', annotations: { who: 'test' } };
  const sbom = await rig.pushImage('digits', digestlessTag, 'sbom', more);
  const listed = await expectStatus(200, rig.ask('GET', `digits/referrers/${subject}`));
  expect(listed.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
  expect(await listed.json()).toMatchObject({
    schemaVersion: 2,
    manifests: [{ digest: sbom, artifactType: 'application/spdx+json', annotations: { who: 'test' } }],
  });
  const none = await rig.ask('GET', `digits/referrers/${subject}?artifactType=other`);
  expect(none.headers.get('oci-filters-applied')).toBe('artifactType');
  expect(await none.json()).toMatchObject({ manifests: [] });
  expect(await (await rig.ask('GET', `digits/referrers/${digestOf('nothing')}`)).json()).toMatchObject({
    manifests: [],
  });
});

test('a deleted tag leaves its manifest, a deleted manifest leaves nothing', async () => {
  await using rig = await startRig();
  const digest = await rig.pushImage('digits', '1', 'weights');
  await rig.pushImage('digits', '2', 'weights');
  await expectStatus(202, rig.ask('DELETE', 'digits/manifests/1'));
  await expectStatus(404, rig.ask('GET', 'digits/manifests/1'));
  await expectStatus(200, rig.ask('GET', `digits/manifests/${digest}`));
  await expectStatus(202, rig.ask('DELETE', `digits/manifests/${digest}`));
  await expectStatus(404, rig.ask('GET', 'digits/manifests/2'));
  expect((await rig.ask('DELETE', `digits/manifests/${digest}`)).status).toBe(404);
});

test('a tag that moves leaves what it pointed at by its digest', async () => {
  await using rig = await startRig();
  const first = await rig.pushImage('digits', 'latest', 'one');
  const second = await rig.pushImage('digits', 'latest', 'two');
  expect((await rig.ask('HEAD', 'digits/manifests/latest')).headers.get('docker-content-digest')).toBe(second);
  await expectStatus(200, rig.ask('GET', `digits/manifests/${first}`));
});

test('a blob is deleted from a repository unless a manifest refers to it', async () => {
  await using rig = await startRig();
  await rig.pushImage('digits', '1', 'weights');
  await rig.pushBlob('digits', 'loose');
  await expectStatus(405, rig.ask('DELETE', `digits/blobs/${digestOf('weights')}`));
  await expectStatus(202, rig.ask('DELETE', `digits/blobs/${digestOf('loose')}`));
  expect((await rig.ask('DELETE', `digits/blobs/${digestOf('loose')}`)).status).toBe(404);
});

test('collectGarbage() removes what no manifest refers to any more, and nothing young', async () => {
  await using rig = await startRig();
  await rig.pushImage('digits', '1', 'kept');
  const digest = await rig.pushImage('digits', '2', 'removed');
  await expectStatus(202, rig.ask('DELETE', `digits/manifests/${digest}`));
  expect(await rig.registry.collectGarbage()).toBe(0);
  expect(await rig.registry.collectGarbage({ graceMs: -60_000 })).toBe(2);
  await expectStatus(404, rig.ask('HEAD', `digits/blobs/${digestOf('removed')}`));
  await expectStatus(200, rig.ask('HEAD', `digits/blobs/${digestOf('kept')}`));
  await rig.pushImage('digits', '2', 'removed');
  expect((await rig.ask('GET', 'digits/manifests/2')).status).toBe(200);
});

test('concurrent pushes through the registry and beside it lose nothing', async () => {
  await using rig = await startRig();
  const store = await LayoutStore.open(rig.layoutDir);
  const numbers = Array.from({ length: 12 }, (_, at) => String(at));
  await Promise.all([
    ...numbers.map((tag) => rig.pushImage('digits', tag, `weights ${Number(tag) % 3}`)),
    ...numbers.map((tag) => smallImage(store, 'digits', `beside-${tag}`)),
  ]);
  const { tags } = (await (await rig.ask('GET', 'digits/tags/list')).json()) as { tags: string[] };
  expect(tags).toHaveLength(24);
});

test('what was uploaded before a kill is still there, and nothing half', async () => {
  await using folder = await temporaryFolder();
  const first = await startProcess(folder.path);
  const base = `http://localhost:${first.port}/v2/digits`;
  await expectStatus(
    201,
    fetch(`${base}/blobs/uploads/?digest=${digestOf('weights')}`, { method: 'POST', body: 'weights' }),
  );
  const begun = await expectStatus(202, fetch(`${base}/blobs/uploads/`, { method: 'POST' }));
  const location = begun.headers.get('location') ?? '';
  await expectStatus(202, fetch(`http://localhost:${first.port}${location}`, { method: 'PATCH', body: 'half' }));
  first.process.kill('SIGKILL');
  await once(first.process, 'exit');

  await using again = await startRegistry({ layoutDir: folder.path, port: 0, log });
  await expectStatus(200, fetch(`http://${again.host}/v2/digits/blobs/${digestOf('weights')}`));
  await expectStatus(404, fetch(`http://${again.host}${location}`));
  expect(await readdir(join(folder.path, '.registry', 'uploads'))).toEqual([]);
  expect(await readdir(join(folder.path, 'blobs', 'sha256'))).toEqual([digestOf('weights').slice('sha256:'.length)]);
});

test('a corrupt manifest on disk is an error of the registry, not an answer', async () => {
  await using rig = await startRig();
  const digest = await rig.pushImage('digits', '1', 'weights');
  await writeFile(join(rig.layoutDir, 'blobs', 'sha256', digest.slice('sha256:'.length)), '{}');
  expect((await rig.ask('GET', 'digits/manifests/1')).status).toBe(500);
});

const digestlessTag = 'sbom';

function pathOf(response: Response): string {
  return (response.headers.get('location') ?? '').replace('/v2/', '');
}

async function startProcess(layoutDir: string): Promise<{ process: ReturnType<typeof spawn>; port: number }> {
  const source = (path: string): string => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href);
  const program = `
    import { createLogger } from ${source('shared/log.ts')};
    import { startRegistry } from ${source('simulators/registry/registry.ts')};
    const log = createLogger('registry', { level: 'silent' });
    const registry = await startRegistry({ layoutDir: ${JSON.stringify(layoutDir)}, port: 0, log });
    process.stdout.write(String(registry.port));`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  return { process: child, port: Number(port) };
}
