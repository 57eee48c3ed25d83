import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLedger } from '../../../../agent/collect/ledger.ts';
import { drainBuffer } from '../../../../agent/collect/uploader.ts';
import { type StoredBlob, storeIn } from '../../collect/collect-rig.ts';
import { until } from '../../../until.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { readDigits, type ScoringRig, startScoring } from '../scoring-rig.ts';

/** Starts a server with a script in one worker. */
function startScript(script: string, environment: NodeJS.ProcessEnv = {}): Promise<ScoringRig> {
  return startScoring({ script, environment: { WORKER_COUNT: '1', ...environment } });
}

test('a script gets the JSON document and the image’s models, and gives anything that JSON can say', async () => {
  await using rig = await startScript(`
    let names;
    export function init({ models }) { names = Object.keys(models); }
    export async function run(input, { models, requestId, headers, timeLeftMs }) {
      const { label } = await models.digits.run({ pixels: { shape: [1, 64], data: Float32Array.from(input.row) } });
      return { names, label: label.data, big: 2n ** 60n, requestId, agent: headers['x-agent'], inTime: timeLeftMs > 1000 };
    }`);
  const { pixels } = await readDigits();
  const answer = await rig.post('/score', { row: pixels[0] }, { 'x-request-id': 'q', 'x-agent': 'a' });
  expect(answer.headers.get('x-ms-run-function-failed')).toBe('False');
  expect(await answer.text()).toBe(
    '{"names":["digits"],"label":[9],"big":1152921504606846976,"requestId":"q","agent":"a","inTime":true}',
  );
});

test('a script runs several models for one request, and a model that refuses its input says why', async () => {
  await using rig = await startScoring({
    identities: [
      { type: 'int64', shape: ['n'] },
      { type: 'string', shape: ['n'] },
    ],
    environment: { WORKER_COUNT: '1' },
    script: `
      export const run = async ({ texts, numbers }, { models }) => {
        const { y } = await models['identity-string'].run({ x: { shape: [texts.length], data: texts } });
        const big = BigInt64Array.from(numbers, BigInt);
        const { y: same } = await models['identity-int64'].run({ x: { shape: [big.length], data: big } });
        return { texts: y.data, numbers: same.data, versions: Object.values(models).map(({ version }) => version) };
      };`,
  });
  const asked = { texts: ['ä', ''], numbers: ['9007199254740993'] };
  expect(await (await rig.post('/score', asked)).text()).toBe(
    '{"texts":["ä",""],"numbers":[9007199254740993],"versions":[2,1,1]}',
  );
  const refused = await rig.post('/score', { texts: ['a\u0000b'], numbers: [] });
  expect([refused.status, ((await refused.json()) as { message: string }).message]).toEqual([
    400,
    expect.stringContaining('a string with a NUL character'),
  ]);
});

test('a script that declares nothing takes any content type, one that declares its input takes JSON', async () => {
  const png = { 'content-type': 'image/png' };
  await using any = await startScript(`export const raw = true; export const run = ({ body }) => ({ body });`);
  expect(await (await any.post('/score', Uint8Array.of(1, 2, 3), png)).bytes()).toEqual(Uint8Array.of(1, 2, 3));
  await using typed = await startScript(
    `export const inputs = [{ name: 'x', type: 'int64', shape: [] }]; export const run = () => 1;`,
  );
  expect((await typed.post('/score', '{"x":1}', png)).status).toBe(415);
  expect((await typed.post('/score', '{"x":1}')).status).toBe(200);
});

test('a script with declared inputs and outputs gets and gives tensors, checked and in Swagger', async () => {
  await using rig = await startScript(`
    export const inputs = [{ name: 'x', type: 'int64', shape: ['n'] }];
    export const outputs = [{ name: 'twice', type: 'int64', shape: ['n'] }];
    export const run = ({ x }) => ({ twice: { shape: x.shape, data: x.data.map((value) => value * 2n) } });`);
  expect(await (await rig.post('/score', '{"x":[4503599627370497]}')).text()).toBe('{"twice":[9007199254740994]}');
  const refused = await rig.post('/score', '{"x":[0.5]}');
  expect([refused.status, refused.headers.get('x-ms-run-function-failed')]).toEqual([400, 'False']);
  expect(await (await rig.fetch('/swagger.json')).json()).toMatchObject({
    definitions: { ServiceInput: { required: ['x'] }, ServiceOutput: { required: ['twice'] } },
  });
});

test('a raw script gets any method and says status, headers and body', async () => {
  await using rig = await startScript(`
    export const raw = true;
    export const run = ({ method, query, headers, body }) => ({
      status: 418, headers: { 'content-type': 'text/plain', 'x-own': 'yes' },
      body: method + ' ' + query + ' ' + headers['x-a'] + ' ' + Buffer.from(body).toString(),
    });`);
  const answer = await rig.fetch('/score?a=1', { method: 'PUT', body: 'hello', headers: { 'x-a': 'b' } });
  expect([answer.status, answer.headers.get('x-own'), await answer.text()]).toEqual([418, 'yes', 'PUT a=1 b hello']);
});

test('a script that throws is 500 with the flag, and its message stays inside', async () => {
  await using rig = await startScript(`export const run = () => { throw new Error('the password is 1234'); };`);
  const answer = await rig.post('/score', {});
  expect([answer.status, answer.headers.get('x-ms-run-function-failed')]).toEqual([500, 'True']);
  expect(await answer.json()).toEqual({
    message: 'An unexpected error occurred in scoring script. Check the logs for more info.',
  });
});

test('a script that ends its process fails its request, and the next is answered', async () => {
  await using rig = await startScript(`export const run = ({ end }) => (end ? process.exit(7) : 'here');`);
  const answer = await rig.post('/score', { end: true });
  expect(await answer.json()).toEqual({
    message: 'Cannot score: the worker ended (exit code 7) while it scored this request',
  });
  await until(async () => (await rig.post('/score', {})).status === 200);
});

test('a script that loops for ever is ended at its deadline, and aborted before where it waits', async () => {
  await using rig = await startScript(
    `export const run = ({ loop }, { signal }) => {
      if (loop) for (;;);
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve('aborted')));
    };`,
    { SCORING_TIMEOUT_MS: '500' },
  );
  for (const loop of [true, false]) {
    const answer = await rig.post('/score', { loop });
    expect([answer.status, await answer.json()]).toEqual([500, { message: 'Scoring timeout after 500 ms' }]);
  }
});

test('a script collects a payload with its content type beside a row', async () => {
  await using folder = await temporaryFolder();
  await using rig = await startScript(
    `export const run = (_, { collect }) => collect('inputs', { photo: { contentType: 'image/png', content: Uint8Array.of(1, 2, 3) } });`,
    { AML_MODEL_DC_STORAGE_ENABLED: 'true', MODELFERRY_DATA_DIR: folder.path },
  );
  await rig.post('/score', {});
  const databasePath = join(folder.path, 'collect.db');
  await until(() => readLedger(databasePath).streams.length === 1);
  const blobs = new Map<string, StoredBlob>();
  await drainBuffer({ databasePath, destination: storeIn(blobs), seal: 'all', signal: AbortSignal.timeout(10_000) });
  expect([...blobs.values()][0]?.text).toContain('"data:image/png;base64,AQID"');
});

test.each([
  ['a designation that there is not', `'../inputs', {}`],
  ['a correlation id that is too long', `'signals', {}, { correlationId: 'c'.repeat(201) }`],
])('a script that collects with %s fails, and nothing is collected', async (_, given) => {
  await using folder = await temporaryFolder();
  await using rig = await startScript(`export const run = (_, { collect }) => collect(${given});`, {
    AML_MODEL_DC_STORAGE_ENABLED: 'true',
    MODELFERRY_DATA_DIR: folder.path,
  });
  const answer = await rig.post('/score', {});
  expect([answer.status, answer.headers.get('x-ms-run-function-failed')]).toEqual([500, 'True']);
  expect(readLedger(join(folder.path, 'collect.db')).streams).toEqual([]);
});

test('a script collects rows of its own, and the models stay reachable below /v2', async () => {
  await using folder = await temporaryFolder();
  await using rig = await startScript(
    `export const run = (_, { collect }) =>
      collect('signals', { heat: { type: 'float32', shape: [2], data: Float32Array.of(1.5, 2.5) } }, { correlationId: 'c-1' });`,
    { AML_MODEL_DC_STORAGE_ENABLED: 'true', MODELFERRY_DATA_DIR: folder.path },
  );
  expect(await (await rig.post('/score', {})).json()).toBe('c-1');
  await until(() => readLedger(join(folder.path, 'collect.db')).streams.length === 1);
  expect(readLedger(join(folder.path, 'collect.db')).streams).toMatchObject([
    { designation: 'signals', model: 'digits', collected: 2 },
  ]);
  expect((await rig.fetch('/v2/models/digits/ready')).status).toBe(200);
});

test.each([
  ['does not parse', 'export const run = ('],
  ['has no run', 'export const init = () => {};'],
  ['fails to initialise', `export const run = () => {}; export function init() { throw new Error('no'); }`],
])('a script that %s ends the start', async (_, script) => {
  await expect(startScript(script)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
});

test('a script without any model answers for the service, and an image with neither does not start', async () => {
  const script = 'export const run = ({ x }, { models }) => ({ x, models: Object.keys(models) });';
  await using rig = await startScoring({ script, only: [], environment: { SERVICE_NAME: 'rules', WORKER_COUNT: '1' } });
  expect(await (await rig.post('/score', { x: 1 })).json()).toEqual({ x: 1, models: [] });
  expect(await (await rig.fetch('/swagger.json')).json()).toMatchObject({ info: { title: 'rules' } });
  expect(await (await rig.fetch('/metrics')).text()).toContain('rules');
  await expect(startScoring({ only: [] })).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
});
