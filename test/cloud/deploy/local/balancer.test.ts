import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import type { Writable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { freePort } from '../../../../cloud/deploy/local/free-port.ts';
import { Balancer } from '../../../../cloud/deploy/local/host/balancer.ts';
import { Upstream } from '../../../../cloud/deploy/local/host/upstream.ts';
import { until } from '../../../until.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A balancer with as many replicas as there are handlers. */
async function openRig(handlers: readonly Handler[], limits = { concurrentMax: 8, waitMs: 5_000 }) {
  await using stack = new AsyncDisposableStack();
  const { concurrentMax, waitMs: queueWaitMs } = limits;
  const wanted = { host: '127.0.0.1', port: await freePort(), concurrentMax, queueWaitMs, scoringTimeoutMs: 10_000 };
  const balancer = stack.use(new Balancer(wanted));
  const servers = await Promise.all(
    handlers.map(async (handler) => {
      const server = stack.use(createServer(handler).listen(0, '127.0.0.1'));
      stack.defer(() => server.closeAllConnections());
      await once(server, 'listening');
      return server;
    }),
  );
  const upstreams = servers.map((server, at) => new Upstream(`replica-${at}`, portOf(server.address())));
  for (const upstream of upstreams) balancer.add(upstream);
  await balancer.become(wanted);
  const keep = stack.move();
  return { balancer, upstreams, servers, port: wanted.port, [Symbol.asyncDispose]: () => keep.disposeAsync() };
}

function portOf(address: ReturnType<ReturnType<typeof createServer>['address']>): number {
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

const echo =
  (name: string): Handler =>
  (request, response) =>
    void answerWith(name, request, response);

async function answerWith(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await textOf(request);
  response.setHeader('x-replica', name);
  response.end(`${request.method} ${request.url} ${body.length}`);
}

async function ask(port: number, options: { method?: string; body?: string; chunked?: boolean; path?: string } = {}) {
  const { method = 'POST', body = 'rows', chunked = false, path = '/score' } = options;
  const asking = request({
    host: '127.0.0.1',
    port,
    path,
    method,
    agent: false,
    headers: chunked ? {} : { 'content-length': body.length },
  });
  if (chunked) {
    asking.write(body.slice(0, 2));
    asking.end(body.slice(2));
  } else asking.end(body);
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  return { status: response.statusCode, replica: response.headers['x-replica'], body: await textOf(response) };
}

/** Writes a piece a millisecond. */
async function writeSlowly(to: Writable, pieces: Iterable<Buffer | string>): Promise<void> {
  for (const piece of pieces) {
    to.write(piece);
    await sleep(1);
  }
}

/** Sends bytes as they are, and gives all that is answered until the connection ends. */
async function askRaw(port: number, bytes: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  socket.end(bytes);
  return textOf(socket);
}

test('Balancer hands bodies on whole: with a length, in chunks, large, and none', async () => {
  await using rig = await openRig([echo('a')]);
  expect((await ask(rig.port)).body).toBe('POST /score 4');
  expect((await ask(rig.port, { chunked: true })).body).toBe('POST /score 4');
  expect((await ask(rig.port, { body: 'x'.repeat(3_000_000) })).body).toBe('POST /score 3000000');
  expect((await ask(rig.port, { body: 'x'.repeat(3_000_000), chunked: true })).body).toBe('POST /score 3000000');
  expect((await ask(rig.port, { method: 'GET', body: '', path: '/' })).body).toBe('GET / 0');
  expect((await ask(rig.port, { method: 'HEAD', body: '' })).status).toBe(200);
});

test('Balancer hands answers on whole to clients that do not read meanwhile', async () => {
  // More than the system keeps for a connection, in pieces that are each less than makes a writer wait.
  const pieces = Array.from({ length: 800 }, (_, at) => Buffer.alloc(20_000, `piece ${at} `));
  const whole = Buffer.concat(pieces);
  let written = 0;
  const trickle: Handler = (_request, response) => {
    void writeSlowly(response, pieces).finally(() => {
      response.end();
      written += 1;
    });
  };
  await using rig = await openRig([trickle, trickle]);
  const readLate = async (): Promise<boolean> => {
    const asking = request({ host: '127.0.0.1', port: rig.port, agent: false }).end();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    await until(() => written === 2);
    return Buffer.concat(await response.toArray()).equals(whole);
  };
  expect(await Promise.all([readLate(), readLate()])).toEqual([true, true]);
});

const plainAnswer = `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-more: ${'x'.repeat(60)}\r\ncontent-length: 5\r\n\r\nslow!`;

test.each([
  ['comes byte by byte', plainAnswer.split('')],
  [
    'begins in one piece with what comes before it',
    [`HTTP/1.1 100 Continue\r\n\r\n${plainAnswer.slice(0, 30)}`, plainAnswer.slice(30)],
  ],
])('Balancer reads an answer whose head %s, beside others', async (_how, pieces) => {
  await using stack = new AsyncDisposableStack();
  const slow = createTcpServer((socket) => void socket.on('data', () => void writeSlowly(socket, pieces)));
  slow.listen(0, '127.0.0.1');
  stack.defer(() => void slow.close());
  await once(slow, 'listening');
  await using rig = await openRig([echo('a')]);
  rig.balancer.add(new Upstream('slow', portOf(slow.address())));
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(rig.port, { method: 'GET', body: '' })));
  expect(answers.map(({ body }) => body).filter((body) => body !== 'GET /score 0')).toContain('slow!');
  expect(answers.every(({ status }) => status === 200)).toBe(true);
});

test('Balancer answers requests that come before the answers, in their order, on one connection', async () => {
  await using rig = await openRig([echo('a'), echo('b')]);
  const one = (path: string): string => `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc`;
  const last = 'GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
  const answers = await askRaw(rig.port, one('/1') + one('/2') + one('/3') + last);
  expect([...answers.matchAll(/(POST|GET) (\S+) /g)].map(([, , path]) => path)).toEqual(['/1', '/2', '/3', '/last']);
});

test('Balancer gives each request to the replica that is at the fewest', async () => {
  const held: ServerResponse[] = [];
  await using rig = await openRig([(_request, response) => held.push(response), echo('b')]);
  const first = ask(rig.port);
  await until(() => held.length === 1);
  const others = [await ask(rig.port), await ask(rig.port)];
  expect(others.map(({ replica }) => replica)).toEqual(['b', 'b']);
  held[0]?.end('late');
  expect((await first).body).toBe('late');
  expect(rig.upstreams.map(({ outstanding }) => outstanding)).toEqual([0, 0]);
});

test('Balancer lets requests wait for a replica, and answers 503 when that takes too long', async () => {
  const held: ServerResponse[] = [];
  await using rig = await openRig([(_request, response) => held.push(response)], { concurrentMax: 1, waitMs: 300 });
  const [first, second] = [ask(rig.port), ask(rig.port)];
  await until(() => held.length === 1);
  expect(rig.balancer.load).toBe(2);
  expect(await second).toMatchObject({ status: 503, body: expect.stringContaining('busy') });
  held[0]?.end('late');
  expect((await first).status).toBe(200);
});

test('Balancer sends a request again when its replica is gone before it answered, once', async () => {
  let lost = 0;
  const dying: Handler = (request) => {
    lost += 1;
    request.socket.destroy();
  };
  await using rig = await openRig([dying, echo('b')]);
  const answers = await Promise.all(Array.from({ length: 4 }, () => ask(rig.port)));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(lost).toBeGreaterThan(0);
  await using alone = await openRig([dying]);
  expect((await ask(alone.port)).status).toBe(502);
});

test('Balancer fails no request while replicas come and go', async () => {
  await using rig = await openRig([echo('a'), echo('b'), echo('c')]);
  const over = new AbortController();
  const statuses: (number | undefined)[] = [];
  const client = async (): Promise<void> => {
    while (!over.signal.aborted) statuses.push((await ask(rig.port)).status);
  };
  const clients = Promise.all([client(), client(), client()]);
  for (let round = 0; round < 20; round += 1) {
    const [port, name] = [rig.upstreams[round % 3]?.port ?? 0, `again-${round}`];
    const old = rig.upstreams[round % 3];
    const next = new Upstream(name, port);
    rig.balancer.add(next);
    if (old !== undefined) await rig.balancer.drain(old);
    rig.upstreams[round % 3] = next;
    const before = statuses.length;
    await until(() => statuses.length > before + 5);
  }
  over.abort();
  await clients;
  expect(new Set(statuses)).toEqual(new Set([200]));
});

test('Balancer cuts an answer off that its replica did not finish', async () => {
  const half: Handler = (request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half');
    setImmediate(() => request.socket.destroy());
  };
  await using rig = await openRig([half]);
  await expect(ask(rig.port)).rejects.toThrow(/aborted|hang up|ECONNRESET/);
  await until(() => rig.upstreams[0]?.outstanding === 0);
});

test.each([
  ['two lengths', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', '400'],
  ['a length and chunks', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', '400'],
  ['a space before the colon', 'POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\na', '400'],
  ['a folded line', 'POST / HTTP/1.1\r\nContent-Length: 1\r\n 2\r\n\r\na', '400'],
  ['a bare line feed', 'POST / HTTP/1.1\r\nX: 1\nContent-Length: 1\r\n\r\na', '400'],
  ['another coding', 'POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', '400'],
  ['no HTTP', 'SSH-2.0-OpenSSH\r\n\r\n', '400'],
  ['another protocol', 'GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n', '501'],
  ['a head without end', `GET / HTTP/1.1\r\nX: ${'x'.repeat(70_000)}`, '431'],
])('Balancer refuses %s', async (_what, bytes, status) => {
  let asked = 0;
  await using rig = await openRig([() => (asked += 1)]);
  expect(await askRaw(rig.port, bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(asked).toBe(0);
});

test('Balancer answers clients of HTTP/1.0, and ends their connection', async () => {
  await using rig = await openRig([echo('a')]);
  expect(await askRaw(rig.port, 'GET /old HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 [^]*GET \/old 0/);
});
