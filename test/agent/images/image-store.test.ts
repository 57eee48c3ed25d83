import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BandwidthLimit, bytesPerSecondMin } from '../../../agent/images/bandwidth-limit.ts';
import { ImageStore } from '../../../agent/images/image-store.ts';
import { systemClock } from '../../../shared/clock.ts';
import { type Digest, digestOf } from '../../../shared/digest.ts';
import { createLogger } from '../../../shared/log.ts';
import { encodeJson } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';

const log = createLogger('test', { level: 'silent' });
const never = new AbortController().signal;
const options = { pullPolicy: 'on-create', signal: never } as const;

/** How a registry of these tests misbehaves. */
interface Faults {
  /** Cuts the connection after so many bytes of each answer with a blob. */
  cutAfterBytes?: number;
  /** Answers every range with the whole. */
  ignoresRanges?: boolean;
  /** Gives other bytes than were asked for. */
  lies?: boolean;
  /** Wants a token of its own, which it gives to this name and password. */
  signIn?: { readonly username: string; readonly password: string };
}

/** A registry that gives what it was given, as badly as it is told to, and remembers what it was asked for. */
class BadRegistry implements AsyncDisposable {
  readonly faults: Faults = {};
  readonly requests: string[] = [];
  sentBytes = 0;
  readonly #contents = new Map<string, { bytes: Buffer; type: string }>();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response));
  }

  static async open(): Promise<BadRegistry> {
    const server = createServer().listen(0, '127.0.0.1');
    await until(() => server.listening);
    return new BadRegistry(server);
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Puts an image of one layer, and gives its digest. */
  putImage(
    layer: Buffer,
    platform: { os: string; architecture: string; own?: number } = thisPlatform,
    size = layer.byteLength,
  ): Digest {
    const config = encodeJson({ ...platform, rootfs: { type: 'layers', diff_ids: [digestOf(layer)] } });
    const manifest = encodeJson({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, digest: this.#put('blobs', config), size: config.byteLength },
      layers: [{ mediaType: mediaTypes.layer, digest: this.#put('blobs', layer), size }],
    });
    return this.#put('manifests', manifest, mediaTypes.manifest);
  }

  /** Puts an index of images, each for its platform. */
  putIndex(images: readonly { digest: Digest; platform: object }[]): Digest {
    const manifests = images.map((image) => ({ mediaType: mediaTypes.manifest, size: 1, ...image }));
    return this.#put(
      'manifests',
      encodeJson({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }),
      mediaTypes.index,
    );
  }

  tag(name: string, digest: Digest): void {
    const content = this.#contents.get(`/v2/app/manifests/${digest}`);
    if (content !== undefined) this.#contents.set(`/v2/app/manifests/${name}`, content);
  }

  #put(kind: string, bytes: Uint8Array, type = 'application/octet-stream'): Digest {
    const digest = digestOf(bytes);
    this.#contents.set(`/v2/app/${kind}/${digest}`, { bytes: Buffer.from(bytes), type });
    return digest;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { url = '', headers } = request;
    this.requests.push(`${url}${headers.range === undefined ? '' : ` ${headers.range}`}`);
    if (this.#challenge(request, response)) return;
    const content = this.#contents.get(url);
    if (content === undefined) return void response.writeHead(404).end('{}');
    const isBlob = url.includes('/blobs/');
    const { cutAfterBytes, ignoresRanges, lies } = this.faults;
    const from = ignoresRanges ? 0 : Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
    const bytes = isBlob && lies ? Buffer.alloc(content.bytes.length) : content.bytes.subarray(from);
    const { length } = content.bytes;
    const range = from > 0 ? { 'content-range': `bytes ${from}-${length - 1}/${length}` } : {};
    response.writeHead(from > 0 ? 206 : 200, {
      'content-type': content.type,
      'content-length': bytes.length,
      ...range,
    });
    if (isBlob && cutAfterBytes !== undefined && bytes.length > cutAfterBytes) {
      this.sentBytes += cutAfterBytes;
      // Ended, not reset: what was sent also arrives, so that each byte can be counted.
      response.write(bytes.subarray(0, cutAfterBytes), () => response.socket?.end());
    } else {
      if (isBlob) this.sentBytes += bytes.length;
      response.end(bytes);
    }
  }

  #challenge({ url = '', headers }: IncomingMessage, response: ServerResponse): boolean {
    const { signIn } = this.faults;
    if (signIn === undefined) return false;
    if (url.startsWith('/token')) {
      const wanted = `Basic ${btoa(`${signIn.username}:${signIn.password}`)}`;
      if (headers.authorization === wanted) response.end(JSON.stringify({ token: 'let-me-in' }));
      else response.writeHead(401).end();
      return true;
    }
    if (headers.authorization === 'Bearer let-me-in') return false;
    const challenge = `Bearer realm="http://${this.host}/token",service="test",scope="repository:app:pull"`;
    response.writeHead(401, { 'www-authenticate': challenge }).end();
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

const thisPlatform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch };

const openStore = (folder: string): Promise<ImageStore> =>
  ImageStore.open(join(folder, 'images'), { clock: systemClock, log });

test('ImageStore.ensure() gets an image by digest once, and then asks nobody', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const image = `${registry.host}/app@${registry.putImage(randomBytes(10_000))}`;
  const store = await openStore(folder.path);
  const digest = await store.ensure(image, options);
  expect(image.endsWith(digest)).toBe(true);
  const asked = registry.requests.length;
  expect(await store.ensure(image, options)).toBe(digest);
  expect(await (await openStore(folder.path)).ensure(image, { ...options, pullPolicy: 'never' })).toBe(digest);
  expect(registry.requests.length).toBe(asked);
});

test('ImageStore.ensure() gets only the blobs that it has not', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const layer = randomBytes(100_000);
  const store = await openStore(folder.path);
  await store.ensure(`${registry.host}/app@${registry.putImage(layer)}`, options);
  registry.sentBytes = 0;
  await store.ensure(
    `${registry.host}/app@${registry.putImage(layer, { os: 'linux', architecture: 'other' })}`,
    options,
  );
  expect(registry.sentBytes).toBeLessThan(1_000);
});

test('pain 2, a pull on a slow link starts from zero: ImageStore.ensure() goes on at the byte where the link was cut', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const layer = randomBytes(500_000);
  const image = `${registry.host}/app@${registry.putImage(layer)}`;
  registry.faults.cutAfterBytes = 200_000;
  const store = await openStore(folder.path);
  await store.ensure(image, options);
  const ofLayer = registry.requests.filter((request) => request.includes(digestOf(layer)));
  const starts = ofLayer.map((request) => Number(/bytes=(\d+)-/.exec(request)?.[1] ?? 0));
  expect(starts.length).toBeGreaterThanOrEqual(3);
  // What was off the wire but not yet handed on when the connection broke is asked for again: a few buffers of 64 KiB.
  expect(starts[1]).toBeGreaterThan(200_000 - 3 * 65_536);
  expect(starts[2]).toBeGreaterThan(starts[1] ?? 0);
  expect(await readFile(join(store.layout.folder, 'blobs', ...digestOf(layer).split(':')))).toEqual(layer);
});

test('ImageStore.ensure() goes on with what a killed agent left', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const layer = randomBytes(300_000);
  const image = `${registry.host}/app@${registry.putImage(layer)}`;
  const store = await openStore(folder.path);
  await mkdir(join(store.layout.folder, 'partial'));
  await writeFile(join(store.layout.folder, 'partial', digestOf(layer).replace(':', '-')), layer.subarray(0, 250_000));
  await store.ensure(image, options);
  expect(registry.requests).toContain(`/v2/app/blobs/${digestOf(layer)} bytes=250000-`);
  expect(await readdir(join(store.layout.folder, 'partial'))).toEqual([]);
});

test('ImageStore.ensure() takes the whole from a registry that knows no ranges', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const layer = randomBytes(300_000);
  const image = `${registry.host}/app@${registry.putImage(layer)}`;
  registry.faults.ignoresRanges = true;
  const store = await openStore(folder.path);
  await mkdir(join(store.layout.folder, 'partial'));
  await writeFile(join(store.layout.folder, 'partial', digestOf(layer).replace(':', '-')), layer.subarray(0, 250_000));
  await expect(store.ensure(image, options)).resolves.toMatch(/^sha256:/);
});

test('ImageStore.ensure() throws away what has another digest, and a later pull goes well', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const layer = randomBytes(5_000);
  const image = `${registry.host}/app@${registry.putImage(layer)}`;
  const store = await openStore(folder.path);
  registry.faults.lies = true;
  await expect(store.ensure(image, options)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  registry.faults.lies = false;
  await mkdir(join(store.layout.folder, 'partial'), { recursive: true });
  await appendFile(join(store.layout.folder, 'partial', digestOf(layer).replace(':', '-')), randomBytes(100));
  await expect(store.ensure(image, options)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  await expect(store.ensure(image, options)).resolves.toMatch(/^sha256:/);
});

test('ImageStore.ensure() asks for a tag once and keeps to what it was', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const first = registry.putImage(randomBytes(100));
  registry.tag('1', first);
  const store = await openStore(folder.path);
  expect(await store.ensure(`${registry.host}/app:1`, options)).toBe(first);
  registry.tag('1', registry.putImage(randomBytes(100)));
  expect(await store.ensure(`${registry.host}/app:1`, options)).toBe(first);
});

test("ImageStore.ensure() takes this machine's image out of an index, and says when it has none", async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const ours = registry.putImage(randomBytes(100));
  const other = { digest: registry.putImage(randomBytes(100)), platform: { os: 'linux', architecture: 'riscv64' } };
  const both = registry.putIndex([other, { digest: ours, platform: thisPlatform }]);
  const store = await openStore(folder.path);
  expect(await store.ensure(`${registry.host}/app@${both}`, options)).toBe(ours);
  const asked = registry.requests.length;
  expect(await store.ensure(`${registry.host}/app@${both}`, options)).toBe(ours);
  expect(registry.requests.length).toBe(asked);
  const none = store.ensure(`${registry.host}/app@${registry.putIndex([other])}`, options);
  await expect(none).rejects.toMatchObject({ code: 'PLATFORM_UNSUPPORTED' });
});

test('ImageStore.ensure() signs in with the name and password that it is given', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const image = `${registry.host}/app@${registry.putImage(randomBytes(100))}`;
  const signIn = { username: 'ferry', password: 'secret' };
  registry.faults.signIn = signIn;
  const store = await openStore(folder.path);
  await expect(store.ensure(image, options)).rejects.toMatchObject({ code: 'REGISTRY_REFUSED' });
  await expect(store.ensure(image, { ...options, credential: { kind: 'password', ...signIn } })).resolves.toMatch(
    /^sha256:/,
  );
});

test('ImageStore.ensure() says what is wrong: no such image, no registry, not to be pulled, no name of an image', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const store = await openStore(folder.path);
  const failure = (image: string, pullPolicy: 'on-create' | 'never' = 'on-create'): Promise<unknown> =>
    store.ensure(image, { pullPolicy, signal: never }).catch((error: unknown) => error);
  expect(await failure(`${registry.host}/app:none`)).toMatchObject({ code: 'IMAGE_NOT_FOUND' });
  expect(await failure('127.0.0.1:1/app:1')).toMatchObject({
    code: 'REGISTRY_UNREACHABLE',
    message: expect.stringContaining('127.0.0.1:1'),
  });
  expect(await failure(`${registry.host}/app:1`, 'never')).toMatchObject({ code: 'IMAGE_NOT_FOUND' });
  expect(await failure('NOT:AN:IMAGE')).toMatchObject({ code: 'NAME_INVALID' });
});

test('ImageStore.ensure() gets what images have in common once where they are pulled at the same time', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const common = randomBytes(3_000_000);
  const images = [1, 2, 3].map((own) => `${registry.host}/app@${registry.putImage(common, { ...thisPlatform, own })}`);
  registry.faults.cutAfterBytes = 500_000;
  const store = await openStore(folder.path);
  await Promise.all(images.map((image) => store.ensure(image, options)));
  expect(Buffer.compare(await readFile(store.layout.blobPath(digestOf(common))), common)).toBe(0);
  // And what was on its way when the link was cut.
  expect(registry.sentBytes).toBeLessThan(common.byteLength * 1.5);
});

test('ImageStore.ensure() that waits for what another one gets ends at once when it is told to, and the other one goes on', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const common = randomBytes(500_000);
  const images = [1, 2].map((own) => `${registry.host}/app@${registry.putImage(common, { ...thisPlatform, own })}`);
  const limit = new BandwidthLimit(bytesPerSecondMin, systemClock);
  const store = await ImageStore.open(join(folder.path, 'images'), { clock: systemClock, log, limit });
  const [endingFirst, endingSecond] = [new AbortController(), new AbortController()];
  const first = store.ensure(images[0] ?? '', { ...options, signal: endingFirst.signal });
  await until(() => (store.pulls[0]?.gotBytes ?? 0) > 1_000);
  const second = store.ensure(images[1] ?? '', { ...options, signal: endingSecond.signal });
  await until(() => store.pulls.length === 2);
  endingSecond.abort(new Error('enough of it'));
  await expect(second).rejects.toThrow('enough of it');
  expect(store.pulls).toHaveLength(1);
  endingFirst.abort(new Error('enough'));
  await expect(first).rejects.toThrow('enough');
});

test('ImageStore.ensure() ends at once when it is told to', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const image = `${registry.host}/app@${registry.putImage(randomBytes(500_000))}`;
  registry.faults.cutAfterBytes = 1;
  const ending = new AbortController();
  const pull = (await openStore(folder.path)).ensure(image, { ...options, signal: ending.signal });
  await until(() => registry.requests.some((request) => request.includes('bytes=')));
  ending.abort(new Error('enough'));
  await expect(pull).rejects.toThrow('enough');
});

test('pain 18, transfers saturate the link: pulls at the same time share one limit of bytes a second', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const images = [randomBytes(500_000), randomBytes(500_000)].map(
    (layer) => `${registry.host}/app@${registry.putImage(layer)}`,
  );
  // Waiting makes the time go on, nothing else does.
  let nowMs = 0;
  const sleep = async (ms: number): Promise<void> => void (nowMs += ms);
  const clock = { ...systemClock, monotonicMs: () => nowMs, sleep };
  const limit = new BandwidthLimit(100_000, clock);
  const store = await ImageStore.open(join(folder.path, 'images'), { clock, log, limit });
  await Promise.all(images.map((image) => store.ensure(image, options)));
  // All of it but what the bucket held at first, at 100 bytes a millisecond.
  expect(nowMs).toBeGreaterThan(9_000);
  expect(registry.sentBytes).toBeGreaterThan(1_000_000);
});

test('ImageStore.ensure() ends at once while the limit of the link holds it up', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const image = `${registry.host}/app@${registry.putImage(randomBytes(500_000))}`;
  const ending = new AbortController();
  const limit = new BandwidthLimit(bytesPerSecondMin, systemClock);
  const store = await ImageStore.open(join(folder.path, 'images'), { clock: systemClock, log, limit });
  const pull = store.ensure(image, { ...options, signal: ending.signal });
  await until(() => (store.pulls[0]?.gotBytes ?? 0) > 0);
  ending.abort(new Error('enough'));
  await expect(pull).rejects.toThrow('enough');
});

test('pain 15, a disk that is full: ImageStore.ensure() asks for room before it gives up', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const image = `${registry.host}/app@${registry.putImage(Buffer.from('x'), thisPlatform, 2 ** 50)}`;
  const asked: boolean[] = [];
  const makeRoom = async (isEnough: () => Promise<boolean>): Promise<void> => void asked.push(await isEnough());
  const pull = (await openStore(folder.path)).ensure(image, { ...options, makeRoom });
  await expect(pull).rejects.toMatchObject({ code: 'DISK_FULL' });
  expect(asked).toEqual([false]);
});

test('pain 15, a disk that is full: ImageStore.ensure() does not begin to get what will not fit', async () => {
  await using folder = await temporaryFolder();
  await using registry = await BadRegistry.open();
  const image = `${registry.host}/app@${registry.putImage(Buffer.from('x'), thisPlatform, 2 ** 50)}`;
  const pull = (await openStore(folder.path)).ensure(image, options);
  await expect(pull).rejects.toMatchObject({
    code: 'DISK_FULL',
    message: expect.stringMatching(/\d+ bytes are free.*wanted/),
  });
  expect(registry.requests.some((request) => request.includes('/blobs/'))).toBe(false);
});
