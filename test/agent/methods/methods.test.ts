import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { BlobServiceClient, ContainerSASPermissions, StorageSharedKeyCredential } from '@azure/storage-blob';
import { extract } from 'tar-stream';
import { expect, test } from 'vitest';
import { freePort } from '../../../simulators/quickstart/free-port.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { openAzurite } from '../../conformance/azurite-rig.ts';
import { until } from '../../until.ts';
import { Rig } from '../rig.ts';

const secret = 'a-key-that-nobody-may-read';

/** Says one line of each kind, then waits. */
const talkingScript = `
trap 'exit 0' TERM
echo '{"level":"info","time":"2026-01-01T00:00:00Z","msg":"old"}'
echo '<3> failed to open the camera'
echo "{\\"level\\":\\"warn\\",\\"time\\":\\"$(date -u +%Y-%m-%dT%H:%M:%SZ)\\",\\"msg\\":\\"fresh\\"}"
echo 'and again'
while true; do sleep 0.05; done
`;

/** A device with a module that has said something. */
async function openTalking(): Promise<{ rig: Rig } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const rig = stack.use(await Rig.open());
  stack.use(rig.startAgent());
  const image = await rig.putImage(talkingScript);
  await rig.reported(await rig.deploy({ camera: { image, env: { KEY: secret } } }), 200);
  await until(async () => (await linesOf(rig, {})).includes('and again'));
  const disposal = stack.move();
  return { rig, [Symbol.asyncDispose]: async () => await disposal.disposeAsync() };
}

/** Gives the lines that a filter lets through. */
async function linesOf(rig: Rig, filter: object): Promise<string[]> {
  const items = [{ id: '^cam', filter }];
  const { payload } = await rig.callMethod('GetModuleLogs', { schemaVersion: '1.0', items, contentType: 'text' });
  const [log] = payload as { id: string; payload: string }[];
  return (log?.payload ?? '').split('\n').filter((line) => line !== '');
}

test('GetModuleLogs selects lines by number, time, level and text', async () => {
  await using talking = await openTalking();
  const { rig } = talking;
  expect(await linesOf(rig, {})).toHaveLength(4);
  expect(await linesOf(rig, { tail: 1 })).toEqual(['and again']);
  expect(await linesOf(rig, { since: '1h' })).toEqual([expect.stringContaining('fresh'), 'and again']);
  expect(await linesOf(rig, { since: '2025-12-31T00:00:00Z', until: '2026-01-02T00:00:00Z' })).toHaveLength(2);
  expect(await linesOf(rig, { until: '1767312000' })).toHaveLength(2);
  expect(await linesOf(rig, { loglevel: 3 })).toEqual(['<3> failed to open the camera']);
  expect(await linesOf(rig, { regex: 'again$' })).toEqual(['and again']);
});

test('GetModuleLogs gives JSON and gzip as IoT Edge does, and names what is wrong with a request', async () => {
  await using talking = await openTalking();
  const { rig } = talking;
  const items = { id: 'camera', filter: { loglevel: 3 } };
  const request = { schemaVersion: '1.0', items, contentType: 'json', encoding: 'gzip' };
  const { payload } = await rig.callMethod('GetModuleLogs', request);
  const [log] = payload as { id: string; payloadBytes: string }[];
  const entries: unknown = JSON.parse(gunzipSync(Buffer.from(log?.payloadBytes ?? '', 'base64')).toString());
  expect(entries).toEqual([
    expect.objectContaining({ device: 'gate', id: 'camera', loglevel: 3, text: 'failed to open the camera' }),
  ]);
  for (const [wrong, message] of [
    [{ ...request, items: { id: '(' } }, '"(" is no regular expression'],
    [{ ...request, items: { id: 'camera', filter: { since: 'yesterday' } } }, '"yesterday" is no time'],
    [{ ...request, schemaVersion: '2.0' }, 'schemaVersion "1.0"'],
    [{ ...request, items: { id: 'nobody' } }, 'No module has a name that was asked for'],
  ] as const) {
    expect(await rig.callMethod('GetModuleLogs', wrong)).toMatchObject({
      status: 400,
      payload: { message: expect.stringContaining(message) },
    });
  }
});

test('UploadModuleLogs and UploadSupportBundle store blobs in the background, and never say a secret', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using talking = await openTalking();
  const { rig } = talking;
  const { blobHost, accountName, accountKey } = azurite.account;
  const credential = new StorageSharedKeyCredential(accountName, accountKey);
  const container = new BlobServiceClient(`https://${blobHost}`, credential).getContainerClient('support');
  await container.create();
  const sasUrl = await container.generateSasUrl({
    permissions: ContainerSASPermissions.parse('cw'),
    expiresOn: new Date(Date.now() + 600_000),
  });
  const request = { schemaVersion: '1.0', sasUrl, items: { id: '' }, encoding: 'gzip' };
  await completed(rig, 'UploadModuleLogs', request);
  await completed(rig, 'UploadSupportBundle', { schemaVersion: '1.0', sasUrl });
  const blobs = new Map<string, Buffer>();
  for await (const { name } of container.listBlobsFlat()) {
    blobs.set(name, await container.getBlobClient(name).downloadToBuffer());
  }
  const names = [...blobs.keys()];
  expect(names).toEqual([
    expect.stringMatching(/\/gate\/camera-\d{4}-\d\d-\d\d--\d\d-\d\d-\d\d\.log\.gz$/),
    expect.stringMatching(/\/gate\/support-bundle-[\d-]+\.tar\.gz$/),
  ]);
  const files = await untar(gunzipSync(blobs.get(names[1] ?? '') ?? ''));
  expect([...files.keys()].toSorted()).toEqual(['logs/camera.log', 'machine.json', 'reported.json']);
  expect(files.get('logs/camera.log')).toBe(gunzipSync(blobs.get(names[0] ?? '') ?? '').toString());
  expect(files.get('reported.json')).toContain('"lastDesiredVersion"');
  expect([...files.values()].join('\n')).not.toContain(secret);

  const wrong = sasUrl.replace(/sig=[^&]{8}/, 'sig=AAAAAAAA');
  const failed = await ended(rig, 'UploadModuleLogs', { ...request, sasUrl: wrong });
  expect(failed).toMatchObject({ status: 'Failed', message: expect.stringContaining('403') });
  expect(JSON.stringify(failed)).not.toContain('AAAAAAAA');
}, 60_000);

test('GetTaskStatus says of a task that there never was that it is unknown', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const asked = { schemaVersion: '1.0', correlationId: 'none' };
  const { payload } = await until(() => rig.callMethod('GetTaskStatus', asked).catch(() => undefined));
  expect(payload).toEqual({ status: 'Unknown', message: '', correlationId: 'none' });
});

test('ScoreModule scores on a device that only the hub can reach', async () => {
  await using rig = await Rig.open();
  const port = await freePort();
  await using _agent = rig.startAgent();
  const HostConfig = { PortBindings: { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(port) }] } };
  const image = await rig.putImage();
  const version = await rig.deploy({ digits: { image, createOptions: { HostConfig } }, other: { image } });
  // The module's process has no scoring server: the port is looked at when it is started, and served from then on.
  await until(() => readFile(join(rig.dataFolder('digits'), 'pid')));
  await using _module = await openScoringModule(port);
  await rig.reported(version, 200);
  const request = { schemaVersion: '1.0', id: 'digits', input: { data: [[1, 2]] }, key: secret };
  expect(await rig.callMethod('ScoreModule', request)).toEqual({ status: 200, payload: { sum: 3 } });
  expect(await rig.callMethod('ScoreModule', { ...request, key: 'wrong' })).toMatchObject({ status: 401 });
  expect(await rig.callMethod('ScoreModule', { ...request, id: 'nobody' })).toMatchObject({ status: 404 });
  expect(await rig.callMethod('ScoreModule', { ...request, id: 'other' })).toMatchObject({ status: 400 });
  expect(await rig.callMethod('ScoreModule', { schemaVersion: '1.0', id: 'digits' })).toMatchObject({ status: 400 });
});

async function completed(rig: Rig, method: string, payload: object): Promise<void> {
  expect(await ended(rig, method, payload)).toMatchObject({ status: 'Completed', message: '' });
}

/** Begins a task and gives how it has ended. */
async function ended(rig: Rig, method: string, payload: object): Promise<{ status: string }> {
  const begun = await rig.callMethod(method, payload);
  expect(begun).toMatchObject({ status: 200, payload: { status: 'Running' } });
  const { correlationId } = begun.payload as { correlationId: string };
  return until(
    async () => {
      const asked = { schemaVersion: '1.0', correlationId };
      const task = (await rig.callMethod('GetTaskStatus', asked)).payload as { status: string };
      return task.status !== 'Running' && task;
    },
    { timeoutMs: 20_000 },
  );
}

async function untar(bytes: Buffer): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const tar = extract();
  tar.end(bytes);
  for await (const entry of tar) files.set(entry.header.name, (await buffer(entry)).toString());
  return files;
}

/** Plays the scoring port of a module: adds up a row for whoever has the key. */
async function openScoringModule(port: number): Promise<AsyncDisposable> {
  const answerTo = async (asked: IncomingMessage, answer: ServerResponse): Promise<void> => {
    const body = await text(asked);
    const isKnown = asked.headers.authorization === `Bearer ${secret}`;
    if (asked.url === '/v2/health/ready') answer.end();
    else answer.writeHead(isKnown ? 200 : 401).end(JSON.stringify(isKnown ? { sum: sumOf(body) } : {}));
  };
  const server = createServer((asked, answer) => void answerTo(asked, answer));
  server.listen(port, '127.0.0.1');
  await until(() => server.listening);
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function sumOf(body: string): number {
  const { data } = JSON.parse(body) as { data: number[][] };
  return data.flat().reduce((sum, value) => sum + value, 0);
}
