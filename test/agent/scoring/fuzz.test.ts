import { connect } from 'node:net';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readDigits, type ScoringRig, startScoring } from './scoring-rig.ts';

/** `FUZZ_RUNS=20000 FUZZ_SEED=7 npx vitest run … fuzz` goes through more, or the same ones again. */
const numRuns = Number(process.env['FUZZ_RUNS'] ?? 400);
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 100_000);

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

const methods = fc.constantFrom('POST', 'POST', 'POST', 'GET', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH');

const binaryHeader = fc.constantFrom(undefined, '0', '10', '99999', '-1', 'x', '1e3');

/** Sends bytes as they are, and gives the first line of what comes back, or nothing where the connection ends. */
function sendRaw(rig: ScoringRig, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(rig.server.port, '127.0.0.1');
    let answer = '';
    const timer = setTimeout(() => socket.destroy(), 300);
    socket.on('data', (piece: Buffer) => {
      answer += piece.toString('latin1');
      socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answer.split('\r\n')[0] ?? '');
    });
    socket.write(bytes);
  });
}

async function stillScores(rig: ScoringRig): Promise<void> {
  const { pixels } = await readDigits();
  expect(await (await rig.post('/score', { pixels: [pixels[0]] })).json()).toMatchObject({ label: [9] });
}

test(`no request makes the server answer 5xx or stop (seed ${seed})`, { timeout: 300_000 }, async () => {
  await using rig = await startScoring();
  await fc.assert(
    fc.asyncProperty(methods, paths, fc.oneof(bodies, damaged), binaryHeader, async (method, path, body, header) => {
      const headers = header === undefined ? {} : { 'inference-header-content-length': header };
      const withBody = method === 'GET' || method === 'HEAD' ? {} : { body };
      const answer = await rig.fetch(path, { method, headers, ...withBody });
      const text = await answer.text();
      expect({ status: answer.status, text }).toMatchObject({
        status: expect.toSatisfy((status) => status < 500) as number,
      });
    }),
    { numRuns, seed },
  );
  await stillScores(rig);
});

test(`no bytes make the server answer 5xx or stop (seed ${seed})`, { timeout: 300_000 }, async () => {
  await using rig = await startScoring();
  const start = fc.constantFrom(
    '',
    'POST /score HTTP/1.1\r\nhost: x\r\n',
    'GET / HTTP/1.1\r\n',
    'POST /score HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n',
  );
  await fc.assert(
    fc.asyncProperty(start, fc.uint8Array({ maxLength: 200 }), async (head, noise) => {
      const line = await sendRaw(rig, Buffer.concat([Buffer.from(head), noise, Buffer.from('\r\n\r\n')]));
      expect(line).not.toMatch(/^HTTP\/1.1 5/);
    }),
    { numRuns: Math.ceil(numRuns / 4), seed },
  );
  await stillScores(rig);
});
