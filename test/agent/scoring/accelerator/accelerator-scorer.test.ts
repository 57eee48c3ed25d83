import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLogger } from '../../../../shared/log.ts';
import type { Signature } from '../../../../shared/model/signature.ts';
import { startAccelerator } from '../../../../simulators/accelerator/accelerator.ts';
import type { Accelerator } from '../../../../simulators/accelerator/runtime-server.ts';
import { quantizedAnswer, quantizedModel } from '../../../cloud/models/quantized-model.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { until } from '../../../until.ts';
import { connectGrpc } from '../grpc/grpc-rig.ts';
import { type ScoringRig, startScoring } from '../scoring-rig.ts';

const row = [1, 0.5, 0.25, -0.125];
const signature: Signature = {
  inputs: [{ name: 'x', type: 'float32', shape: [1, 4] }],
  outputs: [{ name: 'y', type: 'float32', shape: [1, 3] }],
};

test('an accelerator runs what /score and /v2 ask for, and every answer says what it is', async () => {
  await using card = await openCard();
  await using rig = await serveOn(card.url);
  const answer = await rig.post('/score', { data: [row] });
  expect(await answer.json()).toEqual({ y: [quantizedAnswer(row)] });
  expect(answer.headers.get('x-modelferry-accelerator')).toBe('simulated');
  const inferred = await rig.post('/v2/models/net/infer', {
    inputs: [{ name: 'x', shape: [1, 4], datatype: 'FP32', data: row }],
  });
  expect(await inferred.json()).toMatchObject({ outputs: [{ name: 'y', data: quantizedAnswer(row) }] });
  expect((await rig.post('/score', { data: [row, row] })).status).toBe(400);
  expect(await (await rig.fetch('/swagger.json')).text()).toContain('"x"');
  expect(card.accelerator.runs).toBe(2);
});

test('an accelerator is not ready until its runtime is there, while it is away, and when it is back again', async () => {
  const port = await freePort();
  await using rig = await serveOn(`http://127.0.0.1:${port}`);
  expect(await readiness(rig)).toBe(503);
  const away = await rig.post('/score', { data: [row] });
  expect(away.status).toBe(503);
  expect(away.headers.get('retry-after')).toBe('1');
  expect(await away.json()).toEqual({
    message: "Cannot score now: the accelerator's runtime is away, it cannot be reached",
  });
  for (let times = 0; times < 2; times += 1) {
    await using card = await openCard({ port });
    await until(async () => (await readiness(rig)) === 200);
    expect((await rig.post('/score', { data: [row] })).status).toBe(200);
    await card[Symbol.asyncDispose]();
    await until(async () => (await readiness(rig)) === 503);
  }
});

test('readiness fails below the share of nodes that was declared, and requests are told why', async () => {
  await using card = await openCard({ unsupported: ['Relu'] });
  await using enough = await serveOn(card.url, { MODELFERRY_ACCELERATOR_SHARE_MIN: '0.85' });
  expect(await readiness(enough)).toBe(200);
  await using strict = await serveOn(card.url, { MODELFERRY_ACCELERATOR_SHARE_MIN: '0.9' });
  expect(await readiness(strict)).toBe(503);
  expect((await strict.fetch('/v2/models/net/ready')).status).toBe(503);
  const reason = `it runs ${6 / 7} of the nodes, at least 0.9 was wanted`;
  const refused = await strict.post('/score', { data: [row] });
  expect(refused.status).toBe(503);
  expect(await refused.json()).toEqual({ message: `Cannot score now: the accelerator is not ready, ${reason}` });
  expect(await (await strict.fetch('/v2/models/net')).json()).toMatchObject({
    parameters: {
      simulated: true,
      nodes: 7,
      accelerated_nodes: 6,
      fallback_nodes: [{ name: 'relu', op_type: 'Relu' }],
      accelerator_ready: false,
      accelerator_reason: reason,
    },
  });
});

test('metrics have the share that runs on the accelerator, and that it is simulated', async () => {
  await using card = await openCard({ unsupported: ['Relu'] });
  await using rig = await serveOn(card.url);
  const text = await (await rig.fetch('/metrics')).text();
  expect(text).toContain(`\nmodelferry_accelerator_share ${6 / 7}\n`);
  expect(text).toContain('\nmodelferry_accelerator_ready 1\n');
  expect(text).toContain('\nmodelferry_accelerator_simulated 1\n');
});

test('what is asked for faster than the accelerator runs waits in a queue with a limit and deadlines', async () => {
  await using card = await openCard({ latencyMs: 150, queueMax: 1 });
  const environment = { MODELFERRY_WAITING_MAX: '2', MODELFERRY_ACCELERATOR_CONCURRENCY: '1' };
  await using rig = await serveOn(card.url, environment);
  const answers = await Promise.all(Array.from({ length: 5 }, () => rig.post('/score', { data: [row] })));
  const codes = answers.map(({ status }) => status).toSorted((left, right) => left - right);
  expect(codes).toEqual([200, 200, 200, 503, 503]);
  await using hasty = await serveOn(card.url, { ...environment, SCORING_TIMEOUT_MS: '60' });
  const late = await Promise.all([0, 1].map(() => hasty.post('/score', { data: [row] })));
  for (const answer of late) {
    expect(answer.status).toBe(500);
    expect(await answer.json()).toEqual({ message: 'Scoring timeout after 60 ms' });
  }
});

test('what an accelerator computes is collected as anything else', async () => {
  await using folder = await temporaryFolder();
  await using card = await openCard();
  await using rig = await serveOn(card.url, {
    AML_MODEL_DC_STORAGE_ENABLED: 'true',
    MODELFERRY_DATA_DIR: folder.path,
  });
  const answer = await rig.post('/score', { data: [row] });
  expect(answer.headers.get('x-modelferry-correlation-id')).toMatch(/^[0-9a-f-]{36}$/);
  await until(async () =>
    (await (await rig.fetch('/metrics')).text()).includes(
      'modelferry_rows{model="net",version="1",designation="predictions",state="collected",reason=""} 1',
    ),
  );
});

test('another model on the accelerator, and a runtime that does not say what it runs, are not ready', async () => {
  await using card = await openCard();
  const other = { ...signature, outputs: [{ name: 'z', type: 'int64' as const, shape: [1] }] };
  await using rig = await serveOn(card.url, {}, other);
  expect(await readiness(rig)).toBe(503);
  expect(await (await rig.fetch('/v2/models/net')).json()).toMatchObject({
    parameters: { accelerator_reason: 'its model has no output "z" of INT64: it is another model' },
  });
  await using silent = await openSilent();
  await using declared = await serveOn(silent.url, { MODELFERRY_ACCELERATOR_SHARE_MIN: '0.5' });
  expect(await readiness(declared)).toBe(503);
  await using undeclared = await serveOn(silent.url);
  expect(await readiness(undeclared)).toBe(200);
  // It answers in JSON alone, as the protocol lets it.
  expect(await (await undeclared.post('/score', { data: [row] })).json()).toEqual({ y: [[1, 2, 'NaN']] });
});

test('gRPC asks the accelerator too', async () => {
  await using card = await openCard();
  await using rig = await serveOn(card.url, { MODELFERRY_GRPC_PORT: '0' });
  using client = connectGrpc(rig.server.grpcPort);
  expect((await client.call('ServerReady')).body).toEqual({ ready: true });
  expect((await client.call('ModelMetadata', { name: 'net' })).body).toMatchObject({ name: 'net' });
  const inputs = [{ name: 'x', datatype: 'FP32', shape: ['1', '4'], contents: { fp32_contents: row } }];
  expect((await client.call('ModelInfer', { model_name: 'net', inputs })).body).toMatchObject({
    outputs: [{ name: 'y', contents: { fp32_contents: quantizedAnswer(row) } }],
  });
});

test('an accelerator whose address is not said, and one for a script, are refused at the start', async () => {
  const share = { MODELFERRY_ACCELERATOR_SHARE_MIN: '0.5' };
  await expect(startScoring({ environment: share })).rejects.toMatchObject({ code: 'USAGE' });
  const environment = { MODELFERRY_ACCELERATOR_URL: 'http://127.0.0.1:9' };
  const script = 'export function run() { return {}; }';
  await expect(startScoring({ environment, script })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('the image has a script'),
  });
});

function serveOn(url: string, environment: NodeJS.ProcessEnv = {}, own = signature): Promise<ScoringRig> {
  return startScoring({
    // What is loaded here would run here: that the file is none shows that it is not.
    more: { net: { file: Buffer.from('no model'), signature: own } },
    only: ['net'],
    environment: { MODELFERRY_ACCELERATOR_URL: url, MODELFERRY_ACCELERATOR_ASK_EVERY_MS: '25', ...environment },
  });
}

async function readiness(rig: ScoringRig): Promise<number> {
  return (await rig.fetch('/v2/health/ready')).status;
}

interface Card extends AsyncDisposable {
  readonly url: string;
  readonly accelerator: Accelerator;
}

async function openCard(options: Partial<Parameters<typeof startAccelerator>[0]> = {}): Promise<Card> {
  await using parts = new AsyncDisposableStack();
  const folder = parts.use(await temporaryFolder());
  const modelFile = join(folder.path, 'net.onnx');
  await writeFile(modelFile, quantizedModel());
  const log = createLogger('accelerator', { level: 'silent' });
  const accelerator = parts.use(await startAccelerator({ modelFile, port: 0, latencyMs: 0, log, ...options }));
  const held = parts.move();
  return { url: accelerator.url, accelerator, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** A runtime that knows no binary tensors and says nothing of where it runs. */
async function openSilent(): Promise<{ readonly url: string } & AsyncDisposable> {
  const outputs = [{ name: 'y', datatype: 'FP32', shape: [1, 3], data: [1, 2, 'NaN'] }];
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      response.end(JSON.stringify(request.url?.endsWith('/infer') === true ? { model_name: 'net', outputs } : {}));
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function freePort(): Promise<number> {
  await using silent = await openSilent();
  return Number(new URL(silent.url).port);
}
