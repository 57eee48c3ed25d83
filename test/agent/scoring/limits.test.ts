import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { until } from '../../until.ts';
import { readDigits, type ScoringRig, startScoring } from './scoring-rig.ts';

/** A connection as a client without manners has it: what it has received, and whether it is still there. */
interface Raw extends Disposable {
  readonly socket: Socket;
  text(): string;
  readonly closed: Promise<unknown>;
}

async function connectRaw(rig: ScoringRig): Promise<Raw> {
  const socket = connect(rig.server.port, '127.0.0.1');
  let received = '';
  socket.on('data', (piece: Buffer) => (received += piece.toString('latin1')));
  socket.on('error', () => socket.destroy());
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  return { socket, text: () => received, closed, [Symbol.dispose]: () => socket.destroy() };
}

const head = 'POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';

async function stillScores(rig: ScoringRig): Promise<void> {
  const { pixels } = await readDigits();
  expect(await (await rig.post('/score', { pixels: [pixels[0]] })).json()).toMatchObject({ label: [9] });
}

test('a client that sends its headers, or its body, byte by byte is cut off in time', async () => {
  const environment = { MODELFERRY_HEADERS_TIMEOUT_MS: '500', MODELFERRY_REQUEST_TIMEOUT_MS: '1000' };
  await using rig = await startScoring({ environment });
  using headers = await connectRaw(rig);
  using body = await connectRaw(rig);
  headers.socket.write('POST /score HTTP/1.1\r\nhost: x\r\n');
  body.socket.write(`${head}content-length: 100000\r\n\r\n{`);
  const drip = setInterval(() => {
    headers.socket.write('x');
    body.socket.write(' ');
  }, 50);
  const startMs = performance.now();
  await Promise.all([headers.closed, body.closed]);
  clearInterval(drip);
  expect(performance.now() - startMs).toBeLessThan(10_000);
  // Whoever goes on writing may be reset before it has read why.
  expect(headers.text()).toMatch(/^(HTTP\/1.1 408 |$)/);
  expect(body.text()).toMatch(/^(HTTP\/1.1 408 |$)/);
  await stillScores(rig);
});

test('a connection that is kept without a request ends', async () => {
  await using rig = await startScoring({ environment: { MODELFERRY_KEEP_ALIVE_TIMEOUT_MS: '300' } });
  using raw = await connectRaw(rig);
  raw.socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  await raw.closed;
  expect(raw.text()).toMatch(/^HTTP\/1.1 200 OK/);
  expect(raw.text()).toMatch(/Connection: keep-alive/i);
});

test('a body that grows beyond the limit is refused while it is sent', async () => {
  await using rig = await startScoring({ environment: { MODELFERRY_BODY_BYTES_MAX: '10000' } });
  using said = await connectRaw(rig);
  said.socket.write(`${head}content-length: 10001\r\n\r\n`);
  using chunked = await connectRaw(rig);
  chunked.socket.write(`${head}transfer-encoding: chunked\r\n\r\n`);
  const more = setInterval(() => chunked.socket.write(`1000\r\n${' '.repeat(0x1000)}\r\n`), 20);
  for (const raw of [said, chunked]) {
    await raw.closed;
    expect(raw.text()).toMatch(/^HTTP\/1.1 413 [^]*"message":"Cannot read the request: it has/);
  }
  clearInterval(more);
  await stillScores(rig);
});

test('bodies that are too much together are refused with 503, and their room is free again when they are gone', async () => {
  const environment = { MODELFERRY_BODY_BYTES_MAX: '100000', MODELFERRY_HELD_BYTES_MAX: '150000' };
  await using rig = await startScoring({ environment });
  using first = await connectRaw(rig);
  first.socket.write(`${head}content-length: 90000\r\n\r\n${' '.repeat(80_000)}`);
  const refused = await until(async () => {
    const answer = await rig.post('/score', ' '.repeat(90_000));
    return answer.status === 503 ? answer : undefined;
  });
  expect(refused.headers.get('retry-after')).toBe('1');
  expect(((await refused.json()) as { message: string }).message).toContain('at most 150000 were wanted');
  first.socket.destroy();
  await until(async () => (await rig.post('/score', ' '.repeat(90_000))).status === 400);
});

test('headers that are too many or too long are refused', async () => {
  await using rig = await startScoring();
  for (const headers of [
    `x-long: ${'x'.repeat(20_000)}\r\n`,
    Array.from({ length: 3000 }, (_, at) => `h${at}: 1\r\n`).join(''),
  ]) {
    using raw = await connectRaw(rig);
    raw.socket.write(`${head}${headers}content-length: 0\r\n\r\n`);
    await raw.closed;
    expect(raw.text()).toMatch(/^HTTP\/1.1 431 /);
  }
  await stillScores(rig);
});

test.each([
  ['arrays', '['.repeat(1_000_000)],
  ['objects', '{"a":'.repeat(200_000)],
])('%s without end in each other are refused, as input and beside it', async (_, deep) => {
  await using rig = await startScoring();
  const infer = (member: string): string => `{"inputs":[{"name":"pixels","shape":[1,64],"datatype":"FP32",${member}}]}`;
  for (const [path, body] of [
    ['/score', `{"pixels":${deep}`],
    ['/score', `{"x":${deep}`],
    ['/v2/models/digits/infer', infer(`"data":${deep}`)],
    ['/v2/models/digits/infer', infer(`"parameters":${deep}`)],
    ['/v2/models/digits/infer', `{"parameters":${deep}`],
  ] as const) {
    expect((await rig.post(path, body)).status).toBe(400);
  }
  await stillScores(rig);
});
