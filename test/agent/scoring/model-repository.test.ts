import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { WorkerPool } from '../../../agent/scoring/pool/worker-pool.ts';
import type { ServiceConfig } from '../../../shared/model/service-config.ts';
import { until } from '../../until.ts';
import { readDigits, type ScoringRig, type ScoringRigOptions, startScoring } from './scoring-rig.ts';

const adminKey = 'admin-key-of-the-tests';
const key = 'caller-key-of-the-tests';

/** A rig whose models an administrator may change. */
async function startManaged(options: ScoringRigOptions = {}): Promise<ScoringRig> {
  const keysFile = join(import.meta.dirname, '../../data/admin-keys.json');
  return await startScoring({ ...options, environment: { MODELFERRY_KEYS_FILE: keysFile, ...options.environment } });
}

async function administer(rig: ScoringRig, path: string, credential = adminKey): Promise<Response> {
  return await rig.post(`/v2/repository/${path}`, {}, { authorization: `Bearer ${credential}` });
}

async function score(rig: ScoringRig, path: string, body: unknown): Promise<{ status: number; document: unknown }> {
  const answer = await rig.post(path, body, { authorization: `Bearer ${key}` });
  return { status: answer.status, document: await answer.json() };
}

/** Changes the service configuration, as whoever puts a new model there does. */
async function configure(
  rig: ScoringRig,
  change: (models: ServiceConfig['models']) => ServiceConfig['models'],
): Promise<void> {
  const path = join(rig.root, 'app/service.json');
  const config = JSON.parse(await readFile(path, 'utf8')) as ServiceConfig;
  await writeFile(path, JSON.stringify({ ...config, models: change(config.models) }));
}

test('a version that is added, loaded and taken away again is served in between', async () => {
  await using rig = await startManaged({ only: ['digits'] });
  const row = { pixels: (await readDigits()).pixels.slice(0, 1) };
  await configure(rig, (models) => models.map((model) => ({ ...model, version: model.version + 1 })));
  expect((await score(rig, '/v2/models/digits/versions/3', {})).status).not.toBe(200);
  expect((await administer(rig, 'models/digits/load')).status).toBe(200);
  expect(rig.server.models.versions('digits')).toEqual(['2', '3']);
  expect((await score(rig, '/score', row)).status).toBe(200);
  expect((await administer(rig, 'models/digits/unload')).status).toBe(200);
  const gone = await score(rig, '/score', row);
  expect(gone).toEqual({ status: 404, document: { message: 'Cannot score: the service has no model' } });
  const index = (await (await administer(rig, 'index')).json()) as unknown[];
  expect(index).toEqual([
    { name: 'digits', version: '2', state: 'UNAVAILABLE', reason: 'unloaded' },
    { name: 'digits', version: '3', state: 'UNAVAILABLE', reason: 'unloaded' },
  ]);
  expect((await administer(rig, 'models/digits/unload')).status).toBe(404);
  expect((await administer(rig, 'models/digits/load')).status).toBe(200);
  expect((await score(rig, '/score', row)).status).toBe(200);
  expect((await administer(rig, 'models/none/load')).status).toBe(404);
});

test('what cannot be loaded leaves served what was served, and says why', async () => {
  await using rig = await startManaged({ only: ['digits'] });
  const row = { pixels: (await readDigits()).pixels.slice(0, 1) };
  const before = await score(rig, '/score', row);
  const file = join(rig.root, 'models/digits/digits-mlp.onnx');
  await writeFile(file, (await readFile(file)).subarray(0, 1000));
  const failed = await administer(rig, 'models/digits/load');
  expect(failed.status).toBe(400);
  expect(await failed.json()).toEqual({ error: expect.stringContaining('Cannot load the model digits:1') });
  expect(await score(rig, '/score', row)).toEqual(before);
});

test('a swap under load answers every request, from one version or the other, and ends the old worker', async () => {
  const identities = [{ type: 'float32', shape: ['n'], heavy: true }] as const;
  await using rig = await startManaged({ identities, only: ['identity-float32'], environment: { WORKER_COUNT: '1' } });
  const workersOf = (): number[] =>
    rig.server.models.all.flatMap((scorer) => (scorer instanceof WorkerPool ? scorer.processIds : []));
  const [before = 0] = workersOf();
  const state = { swapping: true };
  const answers: unknown[] = [];
  const client = async (): Promise<void> => {
    while (state.swapping) answers.push(await score(rig, '/score', { x: [1.5, -2] }));
  };
  const clients = [client(), client(), client()];
  for (let swap = 0; swap < 3; swap += 1) {
    const file = join(rig.root, 'models/identity-float32.onnx');
    await copyFile(file, `${file}.next`);
    await copyFile(`${file}.next`, file);
    expect((await administer(rig, 'models/identity-float32/load')).status).toBe(200);
  }
  state.swapping = false;
  await Promise.all(clients);
  expect(answers.length).toBeGreaterThan(10);
  expect(new Set(answers.map((answer) => JSON.stringify(answer)))).toEqual(
    new Set([JSON.stringify({ status: 200, document: { y: [1.5, -2] } })]),
  );
  expect(workersOf()).toHaveLength(1);
  await until(() => isGone(before));
});

test('a model that has not changed is not loaded again', async () => {
  await using rig = await startManaged({ only: ['digits'] });
  const before = rig.server.models.all;
  expect((await administer(rig, 'models/digits/load')).status).toBe(200);
  expect(rig.server.models.all).toEqual(before);
});

test('nobody but who has the admin key changes the models', async () => {
  await using rig = await startManaged({ only: ['digits'] });
  expect((await administer(rig, 'models/digits/unload', key)).status).toBe(401);
  expect((await rig.post('/v2/repository/index', {})).status).toBe(401);
  expect((await rig.fetch('/v2/repository/index')).status).toBe(405);
  await using open = await startScoring({ only: ['digits'] });
  const refused = await administer(open, 'models/digits/unload');
  expect(refused.status).toBe(401);
  expect(await refused.json()).toEqual({
    error: 'Cannot change the models: the service has no file of keys, an "adminKey" in it was wanted',
  });
});

function isGone(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return false;
  } catch {
    return true;
  }
}
