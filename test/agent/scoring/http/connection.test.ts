import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { until } from '../../../until.ts';
import { readDigits, type ScoringRig, startScoring } from '../scoring-rig.ts';

/** A connection on which bytes are sent as they are. */
interface RawConnection extends Disposable {
  readonly socket: Socket;
  text(): string;
  /** The status of each answer so far. */
  statuses(): string[];
  readonly closed: Promise<unknown>;
}

async function connectRaw(rig: ScoringRig): Promise<RawConnection> {
  const socket = connect(rig.server.port, '127.0.0.1');
  let received = '';
  socket.on('data', (piece: Buffer) => (received += piece.toString('latin1')));
  socket.on('error', () => socket.destroy());
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  return {
    socket,
    text: () => received,
    statuses: () => [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => String(status)),
    closed,
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** Sends bytes, and gives all that comes back until the server ends the connection. */
async function sendToTheEnd(rig: ScoringRig, bytes: string): Promise<string> {
  using raw = await connectRaw(rig);
  raw.socket.write(bytes, 'latin1');
  await raw.closed;
  return raw.text();
}

async function digitsBody(): Promise<string> {
  return JSON.stringify({ pixels: [(await readDigits()).pixels[0]] });
}

const host = 'host: x\r\n';

const refused = [
  ['a space before the colon', `POST /score HTTP/1.1\r\n${host}content-length : 5\r\n\r\n`],
  ['a space in a name', `GET / HTTP/1.1\r\n${host}a b: c\r\n\r\n`],
  ['a folded line', `GET / HTTP/1.1\r\n${host}a: b\r\n c\r\n\r\n`],
  ['a line without a colon', `GET / HTTP/1.1\r\n${host}a\r\n\r\n`],
  ['a line that ends in LF alone', `GET / HTTP/1.1\n${host}\r\n\r\n`],
  ['a header that ends in LF alone', `GET / HTTP/1.1\r\n${host}a: b\nc: d\r\n\r\n`],
  ['a CR in a value', `GET / HTTP/1.1\r\n${host}a: b\rc: d\r\n\r\n`],
  ['a NUL in a value', `GET / HTTP/1.1\r\n${host}a: b\u0000\r\n\r\n`],
  ['two lengths', `POST /score HTTP/1.1\r\n${host}content-length: 1\r\ncontent-length: 2\r\n\r\n`],
  ['the same length twice', `POST /score HTTP/1.1\r\n${host}content-length: 1, 1\r\n\r\n`],
  ['a length and chunks', `POST /score HTTP/1.1\r\n${host}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`],
  ['a signed length', `POST /score HTTP/1.1\r\n${host}content-length: +1\r\n\r\n`],
  ['a hexadecimal length', `POST /score HTTP/1.1\r\n${host}content-length: 0x1\r\n\r\n`],
  ['an empty length', `POST /score HTTP/1.1\r\n${host}content-length:\r\n\r\n`],
  ['chunks in HTTP/1.0', `POST /score HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n`],
  ['no host', 'GET / HTTP/1.1\r\n\r\n'],
  ['two hosts', `GET / HTTP/1.1\r\n${host}${host}\r\n`],
  ['no version', `GET /\r\n${host}\r\n`],
  ['two spaces', `GET  / HTTP/1.1\r\n${host}\r\n`],
  ['a control character in the path', `GET /\u0001 HTTP/1.1\r\n${host}\r\n`],
  ['another protocol', '\u0016\u0003\u0001\u0000\u00a5'],
] as const;

/** An error with a message, in the form that all errors have, as the last answer of its connection. */
const refusal =
  /^HTTP\/1\.1 (?:400|431) [^]*x-ms-run-function-failed: False[^]*connection: close[^]*\r\n\r\n\{"message":"[^"]*(?:\\"[^"]*)*"\}$/;

test('what two programs could read in two ways is refused, and its connection ends', async () => {
  await using rig = await startScoring();
  const taken: string[] = [];
  for (const [what, bytes] of refused) {
    // What stands behind it must not become a request of its own.
    const text = await sendToTheEnd(rig, `${bytes}GET /smuggled HTTP/1.1\r\n${host}\r\n`);
    if (!refusal.test(text) || text.match(/HTTP\/1\.1 \d/g)?.length !== 1) taken.push(`${what}: ${text}`);
  }
  expect(taken).toEqual([]);
});

const notServed = [
  [501, `POST /score HTTP/1.1\r\n${host}transfer-encoding: gzip, chunked\r\n\r\n`],
  [501, `POST /score HTTP/1.1\r\n${host}transfer-encoding: xchunked\r\n\r\n`],
  [505, `GET / HTTP/2.0\r\n${host}\r\n`],
  [417, `POST /score HTTP/1.1\r\n${host}expect: a miracle\r\ncontent-length: 2\r\n\r\n`],
  [413, `POST /score HTTP/1.1\r\n${host}content-length: 999999999999999\r\n\r\n`],
] as const;

test('what is HTTP but cannot be served is refused', async () => {
  await using rig = await startScoring();
  for (const [status, bytes] of notServed) {
    expect(await sendToTheEnd(rig, bytes)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*"message":`));
  }
});

const badChunks = [
  ['no digits', 'x\r\n'],
  ['a sign', '+5\r\nhello\r\n'],
  ['more digits than any size has', `${'0'.repeat(300)}5\r\n`],
  ['more content than it says', '3\r\nhello\r\n0\r\n\r\n'],
  ['LF alone', '5\nhello\n0\n\n'],
  ['an extension with a control character', '5;a=\u0001\r\nhello\r\n'],
  ['a trailer that is no header', '5\r\nhello\r\n0\r\nno trailer\r\n\r\n'],
  ['a trailer that is too long', `0\r\na: ${'b'.repeat(20_000)}\r\n\r\n`],
] as const;

test('a chunked body that is not well formed ends its connection, whatever follows', async () => {
  await using rig = await startScoring();
  const head = `POST /score HTTP/1.1\r\n${host}transfer-encoding: chunked\r\n\r\n`;
  const taken: string[] = [];
  for (const [what, body] of badChunks) {
    const text = await sendToTheEnd(rig, `${head}${body}GET /smuggled HTTP/1.1\r\n${host}\r\n`);
    if (!refusal.test(text) || text.match(/HTTP\/1\.1 \d/g)?.length !== 1) taken.push(`${what}: ${text}`);
  }
  expect(taken).toEqual([]);
});

test('requests that come ahead of answers are answered in their order, however they are cut', async () => {
  await using rig = await startScoring();
  const body = await digitsBody();
  const chunks = `${body.length.toString(16)};a="b"\r\n${body}\r\n0\r\nx-trailer: 1\r\n\r\n`;
  const requests =
    `POST /score HTTP/1.1\r\n${host}x-request-id: 1\r\ncontent-length: ${body.length}\r\n\r\n${body}` +
    `\r\nGET / HTTP/1.1\r\n${host}x-request-id: 2\r\n\r\n` +
    `POST /score HTTP/1.1\r\n${host}x-request-id: 3\r\nTransfer-Encoding: Chunked\r\n\r\n${chunks}` +
    `POST /nowhere HTTP/1.1\r\n${host}x-request-id: 4\r\ncontent-length: 5\r\n\r\nhello` +
    `GET http://x/v2/health/live HTTP/1.1\r\n${host}x-request-id: 5\r\n\r\n`;
  for (const pieceBytes of [1, 7, 100, requests.length]) {
    using raw = await connectRaw(rig);
    raw.socket.setNoDelay(true);
    for (let at = 0; at < requests.length; at += pieceBytes) raw.socket.write(requests.slice(at, at + pieceBytes));
    await until(() => raw.statuses().length === 5);
    expect(raw.statuses()).toEqual(['200', '200', '200', '404', '200']);
    const ids = [...raw.text().matchAll(/\r\nx-request-id: (\d)/g)].map(([, id]) => id);
    expect(ids).toEqual(['1', '2', '3', '4', '5']);
    expect(raw.text().match(/"label":\[9\]/g)).toHaveLength(2);
  }
});

test('heads that are the same, or of the same length only, are each read for what they are', async () => {
  await using rig = await startScoring();
  const body = await digitsBody();
  const score = (id: number): string =>
    `POST /score HTTP/1.1\r\n${host}x-request-id: ${id}\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  const elsewhere = `POST /where HTTP/1.1\r\n${host}x-request-id: 3\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  const ids = [1, 1, 1, 1, 2, 2, 2, 3, 1, 1, 1, 4];
  const requests = ids.map((id) => (id === 3 ? elsewhere : score(id)));
  const longer = `GET / HTTP/1.1\r\n${host}x-request-id: 55\r\n\r\n`;
  for (const pieceBytes of [1, 50, body.length, Number.POSITIVE_INFINITY]) {
    using raw = await connectRaw(rig);
    raw.socket.setNoDelay(true);
    const all = [...requests, longer, longer, longer, ...requests].join('');
    for (let at = 0; at < all.length; at += pieceBytes) raw.socket.write(all.slice(at, at + pieceBytes));
    await until(() => raw.statuses().length === 2 * ids.length + 3);
    const answered = [...raw.text().matchAll(/\r\nx-request-id: (\d+)/g)].map(([, id]) => Number(id));
    expect(answered).toEqual([...ids, 55, 55, 55, ...ids]);
    const statuses = ids.map((id) => (id === 3 ? '404' : '200'));
    expect(raw.statuses()).toEqual([...statuses, '200', '200', '200', ...statuses]);
  }
});

test('a client that floods a connection with requests is answered, and read no faster than that', async () => {
  await using rig = await startScoring();
  using raw = await connectRaw(rig);
  const body = await digitsBody();
  const one = `POST /score HTTP/1.1\r\n${host}content-length: ${body.length}\r\n\r\n${body}`;
  for (let count = 0; count < 2000; count += 1) raw.socket.write(one);
  await until(() => raw.statuses().length === 2000, { timeoutMs: 30_000 });
  expect(new Set(raw.statuses())).toEqual(new Set(['200']));
});

test('a client that waits for a word before it sends its body gets it, unless the request is refused', async () => {
  await using rig = await startScoring({ environment: { MODELFERRY_BODY_BYTES_MAX: '10000' } });
  const body = await digitsBody();
  using raw = await connectRaw(rig);
  raw.socket.write(`POST /score HTTP/1.1\r\n${host}expect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`);
  await until(() => raw.text().endsWith('\r\n\r\n'));
  expect(raw.text()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
  raw.socket.write(body);
  await until(() => raw.statuses().length === 2);
  expect(raw.statuses()).toEqual(['100', '200']);
  for (const [path, status] of [
    ['/score', 413],
    ['/nowhere', 404],
  ] as const) {
    const head = `POST ${path} HTTP/1.1\r\n${host}expect: 100-continue\r\ncontent-length: 10001\r\n\r\n`;
    // Whether the body follows now nobody knows: the connection cannot be used again.
    expect(await sendToTheEnd(rig, head)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close`));
  }
});

test('HEAD gets the headers of GET alone, and the next request its own answer', async () => {
  await using rig = await startScoring();
  using raw = await connectRaw(rig);
  raw.socket.write(`HEAD / HTTP/1.1\r\n${host}\r\nGET / HTTP/1.1\r\n${host}connection: close\r\n\r\n`);
  await raw.closed;
  expect(raw.text()).toMatch(
    /^HTTP\/1\.1 200 OK\r\n[^]*content-length: 7\r\n[^]*\r\n\r\nHTTP\/1\.1 200 OK[^]*Healthy$/,
  );
});

test('HTTP/1.0 is answered, and its connection ends unless it asks otherwise', async () => {
  await using rig = await startScoring();
  expect(await sendToTheEnd(rig, 'GET / HTTP/1.0\r\n\r\n')).toMatch(/connection: close[^]*Healthy$/);
  using raw = await connectRaw(rig);
  raw.socket.write('GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n');
  await until(() => raw.text().endsWith('Healthy'));
  raw.socket.write('GET / HTTP/1.0\r\n\r\n');
  await raw.closed;
  expect(raw.statuses()).toEqual(['200', '200']);
});

test('a client that reads no answers is cut off', async () => {
  await using rig = await startScoring({ environment: { MODELFERRY_REQUEST_TIMEOUT_MS: '300' } });
  using raw = await connectRaw(rig);
  raw.socket.pause();
  // A client that does not read hears of the end only where it writes.
  const writing = setInterval(() => raw.socket.write(`GET /swagger.json HTTP/1.1\r\n${host}\r\n`.repeat(200)), 5);
  await raw.closed;
  clearInterval(writing);
  expect(raw.socket.destroyed).toBe(true);
});

test('a raw script has no say in where its answer ends', async () => {
  const script = `export const raw = true;
export function init() {}
export async function run() {
  return { status: 200, headers: { 'content-length': '1', 'transfer-encoding': 'chunked', connection: 'x', 'x-own': 'y' }, body: 'hello' };
}`;
  await using rig = await startScoring({ script });
  const answer = await rig.fetch('/score');
  expect(await answer.text()).toBe('hello');
  expect(answer.headers.get('content-length')).toBe('5');
  expect(answer.headers.get('x-own')).toBe('y');
});
