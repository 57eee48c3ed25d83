import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLogger } from '../../../shared/log.ts';
import { type AcceleratorOptions, startAccelerator } from '../../../simulators/accelerator/accelerator.ts';
import { floatModel, quantizedAnswer, quantizedModel } from '../../cloud/models/quantized-model.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

const row = [1, 0.5, 0.25, -0.125];
const input = { name: 'x', datatype: 'FP32', shape: [1, 4] };

test('startAccelerator() computes the integers of the model, in JSON and in binary tensors, and says that it is simulated', async () => {
  await using rig = await openRig(quantizedModel());
  const asked = { id: 'a', inputs: [{ ...input, data: row }] };
  const inJson = await rig.post('/v2/models/net/infer', JSON.stringify(asked));
  expect(await inJson.json()).toMatchObject({
    model_name: 'net',
    model_version: '1',
    id: 'a',
    parameters: { simulated: true },
    outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 3], data: quantizedAnswer(row) }],
  });
  expect(quantizedAnswer(row)).toEqual([1.5, 0.75, 0]);
  const json = JSON.stringify({
    inputs: [{ ...input, parameters: { binary_data_size: 16 } }],
    outputs: [{ name: 'y', parameters: { binary_data: true } }],
  });
  const inBinary = await rig.post(
    '/v2/models/net/versions/1/infer',
    Buffer.concat([Buffer.from(json), Buffer.from(Float32Array.from(row).buffer)]),
    { 'inference-header-content-length': String(json.length) },
  );
  const body = Buffer.from(await inBinary.arrayBuffer());
  const head = Number(inBinary.headers.get('inference-header-content-length'));
  expect(JSON.parse(body.subarray(0, head).toString())).toMatchObject({
    parameters: { simulated: true },
    outputs: [{ name: 'y', parameters: { binary_data_size: 12 } }],
  });
  expect([...new Float32Array(Uint8Array.from(body.subarray(head)).buffer)]).toEqual(quantizedAnswer(row));
});

test('startAccelerator() says how many nodes the card took, and names those that it did not', async () => {
  await using whole = await openRig(quantizedModel());
  expect(await whole.get('/v2/models/net')).toMatchObject({
    name: 'net',
    versions: ['1'],
    inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 4] }],
    outputs: [{ name: 'y', datatype: 'FP32', shape: [1, 3] }],
    parameters: { simulated: true, nodes: 7, accelerated_nodes: 7, accelerated_share: 1, fallback_nodes: [], runs: 0 },
  });
  await using part = await openRig(quantizedModel({ softmax: true }), { unsupported: ['Softmax', 'Relu'] });
  expect(await part.get('/v2/models/net')).toMatchObject({
    parameters: {
      nodes: 8,
      accelerated_nodes: 6,
      accelerated_share: 0.75,
      fallback_nodes: [
        { name: 'relu', op_type: 'Relu', reason: 'the card has no such operator' },
        { name: 'softmax', op_type: 'Softmax', reason: 'the card has no such operator' },
      ],
    },
  });
  await using none = await openRig(floatModel());
  expect(await none.get('/v2/models/net')).toMatchObject({
    parameters: {
      accelerated_share: 0,
      fallback_nodes: [{ name: 'first', reason: 'its operand "x" is not quantised' }, { name: 'y' }],
    },
  });
});

test('startAccelerator() runs one request at a time, and refuses what its queue has no room for', async () => {
  const latencyMs = 60;
  await using rig = await openRig(quantizedModel(), { latencyMs, queueMax: 2 });
  const asked = JSON.stringify({ inputs: [{ ...input, data: row }] });
  const startMs = performance.now();
  const answers = await Promise.all(Array.from({ length: 5 }, () => rig.post('/v2/models/net/infer', asked)));
  const tookMs = performance.now() - startMs;
  const codes = answers.map(({ status }) => status).toSorted((left, right) => left - right);
  // One on the card and two behind it; the rest comes too early.
  expect(codes).toEqual([200, 200, 200, 503, 503]);
  expect(tookMs).toBeGreaterThanOrEqual(3 * latencyMs);
  expect(rig.accelerator.runs).toBe(3);
  const refused = answers.find(({ status }) => status === 503);
  expect(await refused?.json()).toEqual({ error: 'The accelerator is busy: 2 requests wait, the most that may' });
});

test.each([
  ['another shape', { inputs: [{ ...input, shape: [2, 2], data: row }] }, 'FP32[1, 4] was wanted'],
  ['another type', { inputs: [{ ...input, datatype: 'FP64', data: row }] }, 'FP32[1, 4] was wanted'],
  ['text', { inputs: [{ ...input, datatype: 'BYTES', data: row }] }, 'a number was wanted'],
  ['too few elements', { inputs: [{ ...input, data: [1] }] }, '4 were wanted'],
  ['an unknown output', { inputs: [{ ...input, data: row }], outputs: [{ name: 'z' }] }, 'no output "z"'],
  ['no input', { inputs: [] }, 'it is missing'],
])('startAccelerator() refuses %s with 400', async (_, asked, message) => {
  await using rig = await openRig(quantizedModel());
  const answer = await rig.post('/v2/models/net/infer', JSON.stringify(asked));
  expect(answer.status).toBe(400);
  expect(await answer.json()).toEqual({ error: expect.stringContaining(message) });
});

test('startAccelerator() refuses a model that leaves a dimension open, and knows no other model', async () => {
  await expect(openRig(quantizedModel({ rows: 'batch' }))).rejects.toMatchObject({
    code: 'MODEL_INVALID',
    cause: { message: expect.stringContaining('compiled for one shape') },
  });
  await using rig = await openRig(quantizedModel());
  expect((await rig.fetch('/v2/models/other')).status).toBe(404);
  expect((await rig.fetch('/v2/models/net/versions/2')).status).toBe(404);
  expect((await rig.fetch('/v2/models/net/infer')).status).toBe(405);
  expect(await rig.get('/v2')).toMatchObject({ extensions: ['binary_tensor_data'], simulated: true });
  expect(await rig.get('/v2/health/ready')).toEqual({ ready: true });
  expect(await rig.get('/v2/models/net/ready')).toEqual({ name: 'net', ready: true });
});

async function openRig(file: Uint8Array, options: Partial<AcceleratorOptions> = {}) {
  await using parts = new AsyncDisposableStack();
  const folder = parts.use(await temporaryFolder());
  const modelFile = join(folder.path, 'net.onnx');
  await writeFile(modelFile, file);
  const log = createLogger('accelerator', { level: 'silent' });
  const accelerator = parts.use(await startAccelerator({ modelFile, port: 0, latencyMs: 0, log, ...options }));
  const held = parts.move();
  const ask = (path: string, init?: RequestInit) => fetch(accelerator.url + path, init);
  return {
    accelerator,
    fetch: ask,
    get: async (path: string): Promise<unknown> => await (await ask(path)).json(),
    post: (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
      ask(path, { method: 'POST', headers, body: typeof body === 'string' ? body : Uint8Array.from(body) }),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}
