import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { credentials, status } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { until } from '../../../until.ts';
import { readDigits, type ScoringRig, startScoring } from '../scoring-rig.ts';
import { connectGrpc } from './grpc-rig.ts';

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 100_000);

function startGrpc(options: Parameters<typeof startScoring>[0] = {}): Promise<ScoringRig> {
  return startScoring({ ...options, environment: { MODELFERRY_GRPC_PORT: '0', ...options.environment } });
}

function certificate(name: string): string {
  return fileURLToPath(new URL(`../../../data/certificates/${name}.pem`, import.meta.url));
}

const pixels = { name: 'pixels', datatype: 'FP32', shape: [1, 64] };

/** A row of zeros, raw. */
const blank = { model_name: 'digits', inputs: [pixels], raw_input_contents: [Buffer.alloc(256)] };

test('the service says what the server and its models are', async () => {
  await using rig = await startGrpc();
  using client = connectGrpc(rig.server.grpcPort);
  const body = async (name: string, message?: object): Promise<unknown> => (await client.call(name, message)).body;
  expect(await body('ServerLive')).toEqual({ live: true });
  expect(await body('ServerReady')).toEqual({ ready: true });
  expect(await body('ServerMetadata')).toMatchObject({ name: 'modelferry', extensions: ['binary_tensor_data'] });
  expect(await body('ModelReady', { name: 'digits', version: '2' })).toEqual({ ready: true });
  expect(await body('ModelMetadata', { name: 'digits' })).toEqual({
    name: 'digits',
    versions: ['1', '2'],
    platform: 'onnxruntime_onnx',
    inputs: [{ name: 'pixels', datatype: 'FP32', shape: ['-1', '64'] }],
    outputs: [
      { name: 'label', datatype: 'INT64', shape: ['-1'] },
      { name: 'probabilities', datatype: 'FP32', shape: ['-1', '10'] },
    ],
  });
  expect(await client.call('ModelReady', { name: 'digits', version: '3' })).toMatchObject({
    code: status.NOT_FOUND,
    message: 'Cannot find the model "digits:3": the service has "digits:1", "digits:2"',
  });
});

test('ModelInfer gives the labels that /score gives, by version and by the outputs that are asked for', async () => {
  await using rig = await startGrpc();
  using client = connectGrpc(rig.server.grpcPort);
  const digits = await readDigits();
  const rows = digits.pixels.slice(0, 20);
  const contents = { fp32_contents: rows.flat() };
  for (const version of ['1', '2']) {
    const path = `/v2/models/digits/versions/${version}/infer`;
    const input = { name: 'pixels', datatype: 'FP32', shape: [20, 64], data: rows };
    const overHttp = (await (await rig.post(path, { inputs: [input] })).json()) as { outputs: { data: unknown }[] };
    const answer = await client.call(
      'ModelInfer',
      {
        model_name: 'digits',
        model_version: version,
        id: 'my id',
        inputs: [{ ...pixels, shape: [20, 64], contents }],
        outputs: [{ name: 'label' }],
      },
      { headers: { 'x-request-id': 'r-9' } },
    );
    expect(answer.headers.get('x-request-id')).toEqual(['r-9']);
    expect(String(answer.headers.get('server-timing'))).toMatch(/^parse;dur=[\d.]+,/);
    expect(answer.body).toMatchObject({ model_name: 'digits', model_version: version, id: 'my id' });
    const outputs = answer.body['outputs'] as { name: string; contents: { int64_contents: string[] } }[];
    expect(outputs.map(({ name }) => name)).toEqual(['label']);
    expect(outputs[0]?.contents.int64_contents.map(Number)).toEqual(overHttp.outputs[0]?.data);
  }
  expect(await (await rig.fetch('/metrics')).text()).toContain(
    'modelferry_requests_total{model="digits",code="200"} 4',
  );
});

test.each([
  ['an unknown model', { ...blank, model_name: 'x' }, status.NOT_FOUND, 'Cannot find the model "x"'],
  ['an unknown input', { ...blank, inputs: [{ ...pixels, name: 'x' }] }, status.INVALID_ARGUMENT, 'an input "x"'],
  [
    'another datatype',
    { ...blank, inputs: [{ ...pixels, datatype: 'INT64' }] },
    status.INVALID_ARGUMENT,
    '"FP32" was wanted',
  ],
  [
    'no datatype',
    { ...blank, raw_input_contents: [], inputs: [{ ...pixels, datatype: '' }] },
    status.INVALID_ARGUMENT,
    'datatype of "pixels" is ""',
  ],
  [
    'another shape',
    { ...blank, inputs: [{ ...pixels, shape: [64] }] },
    status.INVALID_ARGUMENT,
    '[batch, 64] was wanted',
  ],
  [
    'a negative dimension',
    { ...blank, inputs: [{ ...pixels, shape: [-1, 64] }] },
    status.INVALID_ARGUMENT,
    'a "shape" is not',
  ],
  ['too few bytes', { ...blank, raw_input_contents: [Buffer.alloc(8)] }, status.INVALID_ARGUMENT, 'it has 2 elements'],
  [
    'too many raw contents',
    { ...blank, raw_input_contents: [Buffer.alloc(1), Buffer.alloc(1)] },
    status.INVALID_ARGUMENT,
    'it has 2 raw_input_contents',
  ],
  [
    'both forms',
    { ...blank, inputs: [{ ...pixels, contents: { fp32_contents: [1] } }] },
    status.INVALID_ARGUMENT,
    'one of them was wanted',
  ],
  [
    'the wrong list',
    { ...blank, raw_input_contents: [], inputs: [{ ...pixels, contents: { int_contents: [1] } }] },
    status.INVALID_ARGUMENT,
    '"fp32_contents" was wanted',
  ],
  ['an unknown output', { ...blank, outputs: [{ name: 'z' }] }, status.INVALID_ARGUMENT, 'asks for the output "z"'],
])('ModelInfer refuses %s', async (_, message, code, text) => {
  await using rig = await startGrpc();
  using client = connectGrpc(rig.server.grpcPort);
  const answer = await client.call('ModelInfer', message);
  expect(answer).toMatchObject({ code, message: expect.stringContaining(text) as string });
});

test('a whole number that does not fit its type is refused, not wrapped', async () => {
  await using rig = await startGrpc({ identities: [{ type: 'int8', shape: [1] }], only: ['identity-int8'] });
  using client = connectGrpc(rig.server.grpcPort);
  const input = { name: 'x', datatype: 'INT8', shape: [1], contents: { int_contents: [200] } };
  const answer = await client.call('ModelInfer', { model_name: 'identity-int8', inputs: [input] });
  expect(answer).toMatchObject({ code: status.INVALID_ARGUMENT, message: expect.stringContaining('200') as string });
});

test('the keys and tokens of HTTP are those of gRPC, and health is open', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'keys.json');
  const tokenSecret = 'a secret that signs tokens, and is long';
  await writeFile(path, JSON.stringify({ keys: ['first-key-of-service'], tokenSecret }));
  await using rig = await startGrpc({ environment: { MODELFERRY_KEYS_FILE: path, SERVICE_NAME: 'svc' } });
  using client = connectGrpc(rig.server.grpcPort);
  const code = async (name: string, credential?: string): Promise<number> =>
    (
      await client.call(name, name === 'ModelInfer' ? blank : { name: 'digits' }, {
        headers: credential === undefined ? {} : { authorization: `Bearer ${credential}` },
      })
    ).code;
  for (const name of ['ServerMetadata', 'ModelReady', 'ModelMetadata', 'ModelInfer']) {
    expect([await code(name), await code(name, 'another-key-of-nobody')]).toEqual([16, 16]);
    expect(await code(name, 'first-key-of-service')).toBe(status.OK);
  }
  const claims = [{ alg: 'HS256' }, { aud: 'svc', exp: Math.floor(Date.now() / 1000) + 60 }];
  const signed = claims.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  const token = `${signed}.${createHmac('sha256', tokenSecret).update(signed).digest('base64url')}`;
  expect(await code('ModelInfer', token)).toBe(status.OK);
  expect([await code('ServerLive'), await code('ServerReady')]).toEqual([status.OK, status.OK]);
});

test('gRPC speaks TLS with the certificate of HTTP, renewed without a restart, and asks clients for theirs', async () => {
  await using folder = await temporaryFolder();
  const [file, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
  await copyFile(certificate('localhost'), file);
  await copyFile(certificate('localhost.key'), key);
  await using rig = await startGrpc({
    environment: {
      MODELFERRY_TLS_CERTIFICATE_FILE: file,
      MODELFERRY_TLS_KEY_FILE: key,
      MODELFERRY_TLS_CLIENT_CA_FILE: certificate('client'),
    },
  });
  const port = rig.server.grpcPort;
  const secured = (name: string): ReturnType<typeof connectGrpc> => {
    const pem = (part: string): Buffer => readFileSync(certificate(part));
    const channel = credentials.createSsl(pem('localhost'), pem(`${name}.key`), pem(name));
    return connectGrpc(port, { channel, options: { 'grpc.ssl_target_name_override': 'localhost' } });
  };
  using client = secured('client');
  expect(await client.call('ModelInfer', blank)).toMatchObject({ code: status.OK, message: '' });
  using stranger = secured('stranger');
  expect(await stranger.call('ServerLive')).toMatchObject({ code: status.UNAVAILABLE });
  using plain = connectGrpc(port);
  expect(await plain.call('ServerLive')).toMatchObject({ code: status.UNAVAILABLE });
  await copyFile(certificate('renewed'), file);
  await copyFile(certificate('renewed.key'), key);
  await until(async () => (await shownBy(port ?? 0)) === 'renewed');
});

/** Gives the common name that a server shows now. */
function shownBy(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

const loopRequest = (n: bigint): object => ({
  model_name: 'loop',
  inputs: [{ name: 'n', datatype: 'INT64', shape: [], contents: { int64_contents: [String(n)] } }],
});

test('the deadline of the client ends its inference, and what it has cancelled is not run', async () => {
  await using rig = await startGrpc({ loop: true, only: ['loop'], environment: { WORKER_COUNT: '1' } });
  using client = connectGrpc(rig.server.grpcPort);
  const endless = loopRequest(1_000_000_000n);
  const startMs = performance.now();
  const late = await client.call('ModelInfer', endless, { call: { deadline: Date.now() + 700 } });
  expect(late.code).toBe(status.DEADLINE_EXCEEDED);
  // The worker that was at it was replaced: the next one is answered long before that work would have been done.
  expect(await client.call('ModelInfer', loopRequest(1n))).toMatchObject({ code: status.OK });
  expect(performance.now() - startMs).toBeLessThan(20_000);
  // One that runs, one that is there when it ends: the third waits.
  const running = [1, 2].map(() => client.call('ModelInfer', loopRequest(100_000n)));
  const gone = new AbortController();
  const cancelled = client.call('ModelInfer', endless, { signal: gone.signal });
  await until(() => rig.server.models.waiting === 1);
  gone.abort();
  expect((await cancelled).code).toBe(status.CANCELLED);
  for (const answer of running) expect((await answer).code).toBe(status.OK);
  expect((await client.call('ModelInfer', loopRequest(1n))).code).toBe(status.OK);
  await until(async () => (await (await rig.fetch('/metrics')).text()).includes('model="loop",code="499"'));
});

test('messages that are too large, or too many at a time, are refused', async () => {
  const identities = [{ type: 'uint8' as const, shape: ['n'] }];
  const environment = { MODELFERRY_BODY_BYTES_MAX: '100000', MODELFERRY_HELD_BYTES_MAX: '50000', WORKER_COUNT: '1' };
  await using rig = await startGrpc({ identities, only: ['identity-uint8'], environment });
  using client = connectGrpc(rig.server.grpcPort);
  const code = async (bytes: number): Promise<number> => {
    const input = { name: 'x', datatype: 'UINT8', shape: [bytes] };
    const raw = { raw_input_contents: [Buffer.alloc(bytes)] };
    return (await client.call('ModelInfer', { model_name: 'identity-uint8', inputs: [input], ...raw })).code;
  };
  expect(await code(1000)).toBe(status.OK);
  expect(await code(80_000)).toBe(status.UNAVAILABLE);
  expect(await code(200_000)).toBe(status.RESOURCE_EXHAUSTED);
  expect(await code(1000)).toBe(status.OK);
});

test('stop() answers the calls in flight, and takes no more', async () => {
  await using rig = await startGrpc({ loop: true, only: ['loop'], environment: { WORKER_COUNT: '1' } });
  using client = connectGrpc(rig.server.grpcPort);
  const inFlight = [1, 2, 3].map(() => client.call('ModelInfer', loopRequest(20_000n)));
  await client.call('ServerLive');
  expect(await rig.server.stop()).toBe(true);
  for (const answer of inFlight) expect((await answer).code).toBe(status.OK);
  expect((await client.call('ServerLive')).code).toBe(status.UNAVAILABLE);
});

test('a port that is taken ends the start', async () => {
  await using first = await startGrpc();
  const environment = { MODELFERRY_GRPC_PORT: String(first.server.grpcPort) };
  await expect(startScoring({ environment })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
});

test(`no message and no bytes make the service fail or stop (seed ${seed})`, { timeout: 120_000 }, async () => {
  await using rig = await startGrpc();
  using client = connectGrpc(rig.server.grpcPort);
  const some = fc.oneof(fc.constantFrom('pixels', 'FP32', 'INT64', 'BYTES', 'digits', ''), fc.string());
  const tensor = fc.record({
    name: some,
    datatype: some,
    shape: fc.array(fc.oneof(fc.constantFrom(0, 1, 64, -1), fc.maxSafeInteger()), { maxLength: 4 }),
    contents: fc.option(
      fc.record({ fp32_contents: fc.array(fc.float(), { maxLength: 70 }), int_contents: fc.array(fc.nat(9)) }),
    ),
  });
  const message = fc.record({
    model_name: fc.oneof(fc.constant('digits'), fc.string()),
    model_version: fc.constantFrom('', '1', '9', 'x'),
    id: fc.string(),
    inputs: fc.array(fc.oneof(fc.constant(pixels), tensor), { maxLength: 3 }),
    outputs: fc.array(fc.record({ name: fc.oneof(fc.constantFrom('label'), fc.string()) }), { maxLength: 3 }),
    raw_input_contents: fc.array(fc.oneof(fc.constant(Buffer.alloc(256)), fc.uint8Array()), { maxLength: 3 }),
  });
  const mayBe = [status.OK, status.INVALID_ARGUMENT, status.NOT_FOUND];
  await fc.assert(
    fc.asyncProperty(message, async (request) => {
      const { code, message: text } = await client.call('ModelInfer', request);
      expect([...mayBe, text]).toContain(code);
    }),
    { numRuns: Number(process.env['FUZZ_RUNS'] ?? 1000), seed },
  );
  const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  await fc.assert(
    fc.asyncProperty(fc.boolean(), fc.uint8Array({ maxLength: 200 }), async (polite, noise) => {
      const socket = connect(rig.server.grpcPort ?? 0, '127.0.0.1');
      const ended = new Promise((resolve) => socket.once('close', resolve));
      socket.on('error', () => socket.destroy());
      socket.on('data', () => {});
      socket.end(Buffer.concat([polite ? preface : Buffer.alloc(0), noise]));
      await ended;
    }),
    { numRuns: 100, seed },
  );
  expect((await client.call('ModelInfer', blank)).code).toBe(status.OK);
});
