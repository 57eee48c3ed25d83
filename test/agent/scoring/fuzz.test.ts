import { Agent, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { until } from '../../until.ts';
import { readDigits, type ScoringRig, startScoring } from './scoring-rig.ts';

/** `FUZZ_RUNS=20000 FUZZ_SEED=7 npx vitest run … fuzz` goes through more, or the same ones again. */
const requests = Number(process.env['FUZZ_RUNS'] ?? 4000);
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 100_000);

/** Requests that are on their way at the same time: what waits for each other shares buffers, runs and connections. */
const together = 20;

/** A row that scores, as JSON text: what is nearly right gets furthest. */
const row = JSON.stringify(Array.from({ length: 64 }, (_, index) => index % 17));

const bodies = fc.oneof(
  fc.json({ maxDepth: 4 }),
  fc.string(),
  fc.constantFrom(
    `{"pixels":[${row}]}`,
    `{"inputs":[{"name":"pixels","shape":[1,64],"datatype":"FP32","data":${row}}]}`,
  ),
);

/** A text with a piece cut out and another put in. */
const damaged = fc
  .tuple(
    bodies,
    fc.nat(),
    fc.nat(20),
    fc.oneof(fc.string({ maxLength: 5 }), fc.constantFrom('[', '{"', '1e999', '-', '\u0000', '"\\u')),
  )
  .map(
    ([text, at, cut, piece]) =>
      text.slice(0, at % (text.length + 1)) + piece + text.slice((at % (text.length + 1)) + cut),
  );

const paths = fc.oneof(
  fc.constantFrom(
    '/score',
    '/score?pixels=1&pixels=[',
    '/v2/models/digits/infer',
    '/v2/models/digits/versions/1/infer',
    '/v2/models/%ff/infer',
    '/v2/models//versions//infer',
    '/swagger.json?version=%00',
    '/v2/health',
    '//',
  ),
  fc.webPath().map((path) => `/v2${path}`),
  fc.webPath(),
);

const methods = fc.constantFrom('POST', 'POST', 'POST', 'POST', 'GET', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH');

/** JSON with noise behind it, as a binary tensor has it, and now and then of the right size. */
const binary = fc
  .tuple(
    fc.constantFrom('FP32', 'FP16', 'BYTES', ''),
    fc.array(fc.nat(65), { maxLength: 3 }),
    fc.oneof(fc.constant(256), fc.nat(300)),
    fc.oneof(fc.uint8Array({ minLength: 256, maxLength: 256 }), fc.uint8Array({ maxLength: 300 })),
  )
  .map(([datatype, shape, said, noise]) => {
    const input = { name: 'pixels', datatype, shape, parameters: { binary_data_size: said } };
    const json = Buffer.from(JSON.stringify({ inputs: [input], parameters: { binary_data_output: true } }));
    return { body: Buffer.concat([json, noise]), jsonBytes: String(json.length) };
  });

const textual = fc.record({
  body: fc.oneof(bodies, damaged).map((text) => Buffer.from(text)),
  jsonBytes: fc.constantFrom(undefined, undefined, '0', '10', '99999', '-1', 'x', '1e3'),
});

/** What a header may hold. */
const headerText = fc.string({ unit: fc.constantFrom(...Array.from('aZ09 ;,/=-_"\u00e9')), maxLength: 130 });

const headers = fc.record(
  {
    'content-type': fc.oneof(fc.constantFrom('application/json', 'application/octet-stream'), headerText),
    'x-request-id': headerText,
    'x-ms-client-request-id': headerText,
    traceparent: headerText,
    authorization: headerText,
    origin: headerText,
    'access-control-request-method': headerText,
  },
  { requiredKeys: [] },
);

const exchange = fc.record({ method: methods, path: paths, payload: fc.oneof(textual, binary), headers });

/** Sends a request, and gives the status of its answer. */
function send(
  rig: ScoringRig,
  agent: Agent,
  { method, path, payload, headers }: typeof exchange extends fc.Arbitrary<infer T> ? T : never,
): Promise<number> {
  const { body, jsonBytes } = payload;
  const binaryHeader = jsonBytes === undefined ? {} : { 'inference-header-content-length': jsonBytes };
  const content = method === 'GET' || method === 'HEAD' ? undefined : body;
  // Node's client does not say by itself how long the body of OPTIONS and DELETE is: it would be read as the next request.
  const length = content === undefined ? {} : { 'content-length': content.byteLength };
  return new Promise((resolve, reject) => {
    const options = { agent, port: rig.server.port, host: '127.0.0.1', method, path };
    const request = httpRequest({ ...options, headers: { ...headers, ...binaryHeader, ...length } }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    // A refused body is not read, and its connection may end before it is sent.
    request.on('error', (error: NodeJS.ErrnoException) =>
      ['EPIPE', 'ECONNRESET'].includes(error.code ?? '') ? resolve(0) : reject(error),
    );
    request.end(content);
  });
}

/** Sends bytes as they are and nothing more, and gives the first line of what comes back. */
function sendRaw(rig: ScoringRig, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(rig.server.port, '127.0.0.1');
    let answer = '';
    socket.on('data', (piece: Buffer) => (answer += piece.toString('latin1')));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => resolve(answer.split('\r\n')[0] ?? ''));
    socket.end(bytes);
  });
}

/** What the server holds when nobody asks for anything. */
async function expectNothingHeld(rig: ScoringRig): Promise<void> {
  await until(async () => {
    const text = await (await rig.fetch('/metrics')).text();
    return /^modelferry_held_bytes 0$/m.test(text) && /^modelferry_waiting_requests 0$/m.test(text);
  });
}

async function stillScores(rig: ScoringRig): Promise<void> {
  const { pixels } = await readDigits();
  expect(await (await rig.post('/score', { pixels: [pixels[0]] })).json()).toMatchObject({ label: [9] });
}

test(
  `no request makes the server answer 5xx, stop, or keep anything (seed ${seed})`,
  { timeout: 300_000 },
  async () => {
    await using rig = await startScoring();
    const agent = new Agent({ keepAlive: true, maxSockets: together });
    const heapBytes: number[] = [];
    for (const half of [1, 2]) {
      await fc.assert(
        fc.asyncProperty(fc.array(exchange, { minLength: together, maxLength: together }), async (exchanges) => {
          const statuses = await Promise.all(exchanges.map((one) => send(rig, agent, one)));
          const failed = statuses.flatMap((status, index) => (status >= 500 ? [[status, exchanges[index]]] : []));
          expect(failed).toEqual([]);
        }),
        { numRuns: Math.ceil(requests / together / 2), seed: seed + half },
      );
      await stillScores(rig);
      await expectNothingHeld(rig);
      collectGarbage();
      heapBytes.push(process.memoryUsage().heapUsed);
    }
    // The first half fills caches; what the second adds would be added for ever.
    expect((heapBytes[1] ?? 0) - (heapBytes[0] ?? 0)).toBeLessThan(16 * 1024 * 1024);
    agent.destroy();
    await until(() => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length <= 2);
  },
);

test(`no bytes make the server answer 5xx or stop (seed ${seed})`, { timeout: 300_000 }, async () => {
  await using rig = await startScoring();
  const start = fc.constantFrom(
    '',
    'POST /score HTTP/1.1\r\nhost: x\r\n',
    'POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n',
    'GET / HTTP/1.1\r\n',
    'POST /score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n',
    'POST /score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"pix\r\n',
  );
  const sent = fc.tuple(start, fc.uint8Array({ maxLength: 200 }), fc.boolean());
  await fc.assert(
    fc.asyncProperty(fc.array(sent, { minLength: together, maxLength: together }), async (pieces) => {
      const lines = await Promise.all(
        pieces.map(([head, noise, ended]) =>
          sendRaw(rig, Buffer.concat([Buffer.from(head), noise, Buffer.from(ended ? '\r\n\r\n' : '')])),
        ),
      );
      expect(lines.filter((line) => /^HTTP\/1.1 5/.test(line))).toEqual([]);
    }),
    { numRuns: Math.ceil(requests / together / 4), seed },
  );
  await stillScores(rig);
  await expectNothingHeld(rig);
});

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
}
