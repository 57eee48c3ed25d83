import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { WorkerPool } from '../../../../agent/scoring/pool/worker-pool.ts';
import { until } from '../../../until.ts';
import { readDigits, type ScoringRig, startScoring } from '../scoring-rig.ts';

const oneWorker = { WORKER_COUNT: '1' };

/** The pool of the rig's `loop` or first heavy model. */
function poolOf(rig: ScoringRig): WorkerPool {
  const pool = rig.server.models.all.find((scorer) => scorer instanceof WorkerPool);
  if (!(pool instanceof WorkerPool)) throw new Error('The rig has no pool');
  return pool;
}

/** About this long the loop model takes. */
async function loopsFor(rig: ScoringRig, ms: number): Promise<number> {
  const startMs = performance.now();
  await rig.post('/score', { n: 20_000 });
  return Math.round((ms / (performance.now() - startMs)) * 20_000);
}

test('other requests are answered while a model runs for seconds', async () => {
  await using rig = await startScoring({ loop: true, only: ['loop'], environment: oneWorker });
  const n = await loopsFor(rig, 2000);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const progress = { done: false };
  const slow = rig.post('/score', { n }).finally(() => (progress.done = true));
  delay.enable();
  const times: number[] = [];
  while (!progress.done) {
    const startMs = performance.now();
    expect((await rig.fetch('/v2/health/ready')).status).toBe(200);
    times.push(performance.now() - startMs);
    await sleep(5);
  }
  delay.disable();
  expect((await slow).status).toBe(200);
  expect(times.length).toBeGreaterThan(50);
  // The median: this process shares two cores with the model, with the client, and with other tests.
  expect(times.toSorted((left, right) => left - right)[Math.floor(times.length / 2)]).toBeLessThan(10);
  expect(delay.percentile(90) / 1e6).toBeLessThan(20);
});

test('a worker that is killed fails its request, and no other', async () => {
  await using rig = await startScoring({ loop: true, only: ['loop'], environment: oneWorker });
  const n = await loopsFor(rig, 1000);
  const [worker = 0] = poolOf(rig).processIds;
  const first = rig.post('/score', { n });
  await sleep(100);
  const others = [1, 2, 3].map(() => rig.post('/score', { n: 10 }));
  await sleep(100);
  process.kill(worker, 'SIGKILL');
  const failed = await first;
  expect([failed.status, failed.headers.get('x-ms-run-function-failed')]).toEqual([500, 'True']);
  expect(await failed.json()).toEqual({
    message: 'Cannot score: the worker ended (SIGKILL) while it scored this request',
  });
  for (const other of others) expect((await other).status).toBe(200);
  expect(poolOf(rig).restarts).toBe(1);
});

test('a worker that hangs beyond the deadline is replaced; its request says so', async () => {
  await using rig = await startScoring({
    loop: true,
    only: ['loop'],
    environment: { ...oneWorker, SCORING_TIMEOUT_MS: '600' },
  });
  const n = await loopsFor(rig, 60_000);
  const [worker] = poolOf(rig).processIds;
  const startMs = performance.now();
  const hung = await rig.post('/score', { n });
  expect(performance.now() - startMs).toBeLessThan(1500);
  expect([hung.status, hung.headers.get('x-ms-run-function-failed')]).toEqual([500, 'True']);
  expect(await hung.json()).toEqual({ message: 'Scoring timeout after 600 ms' });
  await until(async () => (await rig.post('/score', { n: 1 })).status === 200);
  expect(poolOf(rig).processIds).not.toContain(worker);
});

test('too many waiting requests are refused at once, with the time to come back', async () => {
  const environment = { ...oneWorker, MODELFERRY_WAITING_MAX: '1' };
  await using rig = await startScoring({ loop: true, only: ['loop'], environment });
  const n = await loopsFor(rig, 700);
  const taken = [1, 2, 3].map(() => rig.post('/score', { n }));
  await until(() => poolOf(rig).waiting === 1);
  const startMs = performance.now();
  const refused = await rig.post('/score', { n });
  expect(performance.now() - startMs).toBeLessThan(300);
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
  for (const answer of taken) expect((await answer).status).toBe(200);
});

test('a request whose client has gone is not run', async () => {
  await using rig = await startScoring({ loop: true, only: ['loop'], environment: oneWorker });
  const n = await loopsFor(rig, 500);
  const running = [1, 2].map(() => rig.post('/score', { n }));
  await sleep(50);
  const gone = new AbortController();
  const body = JSON.stringify({ n: n * 100 });
  const abandoned = fetch(`${rig.url}/score`, { method: 'POST', body, signal: gone.signal }).catch(String);
  await until(() => poolOf(rig).waiting === 1);
  gone.abort();
  expect(await abandoned).toContain('AbortError');
  for (const answer of running) expect((await answer).status).toBe(200);
  const startMs = performance.now();
  expect((await rig.post('/score', { n: 1 })).status).toBe(200);
  expect(performance.now() - startMs).toBeLessThan(1000);
  expect(await (await rig.fetch('/metrics')).text()).toContain('code="499"} 1');
});

test('a worker that grows beyond its memory is replaced, and no request fails', async () => {
  const identities = [{ type: 'uint8' as const, shape: ['n'], heavy: true }];
  const environment = { ...oneWorker, MODELFERRY_WORKER_BYTES_MAX: String(250e6) };
  await using rig = await startScoring({ identities, only: ['identity-uint8'], environment });
  const [worker] = poolOf(rig).processIds;
  const bytes = Buffer.alloc(80e6);
  const header = Buffer.from(
    JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [{ name: 'x', shape: [bytes.length], datatype: 'UINT8', parameters: { binary_data_size: bytes.length } }],
    }),
  );
  const headers = { 'inference-header-content-length': String(header.length) };
  const body = Buffer.concat([header, bytes]);
  await until(
    async () => {
      const answer = await rig.post('/v2/models/identity-uint8/infer', body, headers);
      expect([answer.status, (await answer.arrayBuffer()).byteLength > bytes.length]).toEqual([200, true]);
      return !poolOf(rig).processIds.includes(worker ?? 0);
    },
    { timeoutMs: 20_000 },
  );
  expect(poolOf(rig).restarts).toBeGreaterThanOrEqual(1);
});

test('a large request to a light model goes to a worker and gets the same answer', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  const small = (await (await rig.post('/score', { pixels })).json()) as { label: number[] };
  const large = (await (await rig.post('/score', { pixels: [...pixels, ...pixels] })).json()) as { label: number[] };
  expect(large.label).toEqual([...small.label, ...small.label]);
});

test('a model that a worker cannot load ends the start with its reason', async () => {
  await expect(
    startScoring({
      identities: [{ type: 'uint8', shape: ['n'], heavy: true }],
      only: ['identity-uint8'],
      broken: true,
    }),
  ).rejects.toMatchObject({
    code: 'MODEL_INVALID',
  });
});
