import { connect } from 'node:net';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { readDigits, startScoring } from './scoring-rig.ts';

test('/score gives the perceptron’s accuracy on the held-out rows, one by one and all at once', async () => {
  await using rig = await startScoring();
  const { pixels, label } = await readDigits();
  const answers = await Promise.all(
    pixels.map(async (row) => (await (await rig.post('/score', { pixels: [row] })).json()) as { label: number[] }),
  );
  expect(answers.filter((answer, index) => answer.label[0] === label[index])).toHaveLength(355);
  const all = (await (await rig.post('/score', { data: pixels })).json()) as { label: number[] };
  expect(all.label).toEqual(answers.map((answer) => answer.label[0]));
});

test('/score gives the same bytes for a row alone and in a shared run', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  const alone: string[] = [];
  for (const row of pixels.slice(0, 40)) alone.push(await (await rig.post('/score', { pixels: [row] })).text());
  const together = await Promise.all(
    pixels.slice(0, 40).map(async (row) => (await rig.post('/score', { pixels: [row] })).text()),
  );
  expect(together).toEqual(alone);
});

test('/score answers with the headers of Azure ML and echoes ids', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  const ids = { 'x-request-id': 'r-1', 'x-ms-client-request-id': 'c-1' };
  const { headers } = await rig.post('/score', { pixels: [pixels[0]] }, ids);
  expect(headers.get('x-request-id')).toBe('r-1');
  expect(headers.get('x-ms-client-request-id')).toBe('c-1');
  expect(headers.get('x-ms-request-id')).toBe('c-1');
  expect(headers.get('x-ms-run-function-failed')).toBe('False');
  expect(headers.get('x-ms-run-fn-exec-ms')).toMatch(/^\d+\.\d{3}$/);
  expect(headers.get('server-timing')).toMatch(/^parse;dur=[\d.]+,queue;dur=[\d.]+,run;dur=[\d.]+,write;dur=[\d.]+$/);
  const without = await rig.post('/score', { pixels: [pixels[0]] });
  expect(without.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
});

test('/score refuses ids that are longer than 100 characters', async () => {
  await using rig = await startScoring();
  expect((await rig.post('/score', {}, { 'x-request-id': 'x'.repeat(101) })).status).toBe(431);
});

test.each([
  ['no JSON', 'hello', '"h" at byte 0'],
  ['nothing', '', 'it ends at byte 0'],
  ['an array', '[[1]]', '"{" was wanted'],
  ['no input', '{"other":1}', 'it has no "pixels"'],
  ['a row that is too short', '{"pixels":[[1,2]]}', 'its shape is [1, 2], [batch, 64] was wanted'],
  ['too few dimensions', '{"pixels":[1,2]}', 'its shape is [2], [batch, 64] was wanted'],
  ['ragged rows', '{"pixels":[[1,2],[3]]}', '2 elements were wanted, as in the arrays before, not 1'],
  ['a string in a row', '{"pixels":[["1"]]}', 'a number, "NaN", "Infinity" or "-Infinity" was wanted'],
  ['text behind it', '{"pixels":[]} x', 'the end was wanted'],
  ['depth without end', `{"other":${'['.repeat(100_000)}`, 'lie deeper than 64'],
])('/score refuses %s with what is wrong', async (_, body, message) => {
  await using rig = await startScoring();
  const response = await rig.post('/score', body);
  expect(response.status).toBe(400);
  expect(response.headers.get('x-ms-run-function-failed')).toBe('False');
  expect(((await response.json()) as { message: string }).message).toContain(message);
});

test('/score takes an empty batch', async () => {
  await using rig = await startScoring();
  expect(await (await rig.post('/score', { pixels: [] })).json()).toEqual({ label: [], probabilities: [] });
});

test('/score takes GET with the query as JSON, and answers OPTIONS; other methods are refused', async () => {
  await using rig = await startScoring({ environment: { AML_CORS_ORIGINS: 'https://a.example' } });
  const { pixels } = await readDigits();
  const got = await rig.fetch(`/score?data=${encodeURIComponent(JSON.stringify(pixels.slice(0, 1)))}`);
  expect(await got.json()).toMatchObject({ label: [9] });
  const options = await rig.fetch('/score', { method: 'OPTIONS', headers: { origin: 'https://a.example' } });
  expect(options.status).toBe(200);
  expect(options.headers.get('access-control-allow-origin')).toBe('https://a.example');
  const stranger = await rig.fetch('/score', { method: 'OPTIONS', headers: { origin: 'https://b.example' } });
  expect(stranger.headers.get('access-control-allow-origin')).toBeNull();
  const put = await rig.fetch('/score', { method: 'PUT' });
  expect([put.status, put.headers.get('allow')]).toEqual([405, 'GET, OPTIONS, POST']);
});

test('/ says that the server is healthy, and unknown paths are 404 in JSON', async () => {
  await using rig = await startScoring();
  expect(await (await rig.fetch('/')).text()).toBe('Healthy');
  const unknown = await rig.fetch('/nothing');
  expect([unknown.status, await unknown.json()]).toEqual([404, { message: 'There is nothing at "/nothing"' }]);
});

test('/swagger.json describes the signature, with what is required, in three versions', async () => {
  await using rig = await startScoring();
  const two = (await (await rig.fetch('/swagger.json')).json()) as { swagger: string; definitions: object };
  expect(two.swagger).toBe('2.0');
  expect(two.definitions).toMatchObject({
    ServiceInput: {
      required: ['pixels'],
      properties: {
        pixels: { type: 'array', items: { type: 'array', minItems: 64, items: { type: 'number', format: 'float' } } },
      },
    },
    ServiceOutput: { required: ['label', 'probabilities'] },
  });
  expect(await (await rig.fetch('/swagger.json?version=3')).json()).toMatchObject({ openapi: '3.0.3' });
  expect(await (await rig.fetch('/swagger.json?version=3.1')).json()).toMatchObject({ openapi: '3.1.0' });
  expect((await rig.fetch('/swagger.json?version=4')).status).toBe(404);
});

test('/metrics counts requests by status and gives stage times', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  await rig.post('/score', { pixels: [pixels[0]] });
  await rig.post('/score', 'no');
  const text = await (await rig.fetch('/metrics')).text();
  expect(text).toContain('modelferry_requests_total{model="digits",code="200"} 1');
  expect(text).toContain('modelferry_requests_total{model="digits",code="400"} 1');
  expect(text).toContain('modelferry_stage_seconds_count{model="digits",stage="run"} 1');
  expect(text).toContain('modelferry_waiting_requests 0');
});

test('a body that says it is larger than 100 MB is refused before it is sent', async () => {
  await using rig = await startScoring();
  const socket = connect(rig.server.port, '127.0.0.1');
  socket.write('POST /score HTTP/1.1\r\nhost: x\r\ncontent-length: 200000000\r\n\r\n');
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 413 /);
  socket.destroy();
});

test('stop() answers what is in flight and then refuses connections', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  const answers = Promise.all(Array.from({ length: 20 }, async () => (await rig.post('/score', { pixels })).status));
  const [statuses, complete] = await Promise.all([answers, rig.server.stop()]);
  expect(complete).toBe(true);
  expect(new Set(statuses)).toEqual(new Set([200]));
  await expect(rig.fetch('/')).rejects.toThrow('fetch failed');
});
