import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hostDesiredSchema } from '../../../../cloud/deploy/local/host-state.ts';
import { pushService } from '../../../../cloud/deploy/push.ts';
import { credentialFor } from '../../../../cloud/deploy/service-call.ts';
import { readSecrets } from '../../../../cloud/deploy/service-keys.ts';
import { getService, listServices } from '../../../../cloud/deploy/service-records.ts';
import { scoreService } from '../../../../cloud/deploy/score-service.ts';
import { observeService, removeService, updateService } from '../../../../cloud/deploy/services.ts';
import type { GivenSettings } from '../../../../cloud/deploy/settings/definitions.ts';
import type { Workspace } from '../../../../cloud/workspace/workspace.ts';
import { isProcessAlive } from '../../../../shared/oci/process-mark.ts';
import { until } from '../../../until.ts';
import { runFerry } from '../../../ferry.ts';
import { digitsFile, logisticFile, workspaceRig } from '../../workspace-rig.ts';

const row = { data: [Array.from({ length: 64 }, (_, at) => at % 16)] };
const options = { replace: false, note: (): void => {}, signal: AbortSignal.timeout(600_000) };
const waiting = { ...options, wait: { timeoutMs: 120_000, smokeTest: true } };

/** Every test's replicas are processes of this machine: those that are left are ended, whatever became of the test. */
async function openRig() {
  const rig = await workspaceRig();
  const sample = join(rig.folder, 'rows.json');
  await writeFile(sample, JSON.stringify(row));
  const push = (path: string, settings: GivenSettings = {}) =>
    pushService(
      rig.workspace,
      {
        name: 'digits',
        target: { kind: 'local' },
        models: [{ path, name: 'digits', sample }],
        settings,
        isWhole: false,
      },
      waiting,
    );
  return {
    ...rig,
    sample,
    push,
    [Symbol.asyncDispose]: async () => {
      for (const { name } of listServices(rig.workspace.database)) await removeService(rig.workspace, name, options);
      await rig[Symbol.asyncDispose]();
    },
  };
}

async function scoreOnce(workspace: Workspace, credential?: string): Promise<unknown> {
  const record = getService(workspace.database, 'digits');
  const { address = '' } = await observeService(workspace, record, options.signal);
  return scoreService({
    service: 'digits',
    input: JSON.stringify(row),
    address,
    ...credentialFor(record, await readSecrets(workspace, 'digits')),
    ...(credential !== undefined && { credential }),
    timeoutMs: 20_000,
    signal: options.signal,
  });
}

test.each([
  ['requests', 'new connections', () => new Agent()],
  ['connections', 'new connections', () => new Agent()],
  ['connections', 'kept connections', () => new Agent({ keepAlive: true })],
] as const)(
  'pushService() to local, balancing %s, on %s: same again does nothing, a new model fails no request, a wrong one is taken back, delete leaves nothing',
  async (balance, _, openAgent) => {
    await using rig = await openRig();
    const { workspace } = rig;
    using cleanup = new DisposableStack();
    const agent = cleanup.adopt(openAgent(), (opened) => opened.destroy());
    const first = await rig.push(digitsFile, { numReplicas: 1, balance });
    expect(first).toMatchObject({ changed: true, registered: ['digits:1'], status: { state: 'Healthy' } });
    expect(await rig.push(digitsFile)).toMatchObject({ changed: false, registered: [], status: { state: 'Healthy' } });
    const other = { settings: { balance: balance === 'requests' ? 'connections' : 'requests' } } as const;
    await expect(updateService(workspace, 'digits', other, waiting)).rejects.toMatchObject({
      code: 'SERVICE_INVALID',
      message: expect.stringContaining(`its balancing is ${balance} and stays so`),
    });

    const { address = '' } = first.status;
    const over = new AbortController();
    const statuses: unknown[] = [];
    const clients = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!over.signal.aborted) statuses.push(await statusOf(address, agent));
      }),
    );
    const second = await rig.push(logisticFile);
    expect(second).toMatchObject({ changed: true, registered: ['digits:2'], status: { state: 'Healthy', address } });
    const served = statuses.length;
    await until(() => statuses.length > served + 20);

    // A setting that the scoring server does not start with.
    const wrong = updateService(workspace, 'digits', { settings: { env: { WORKER_COUNT: 'many' } } }, waiting);
    await expect(wrong).rejects.toMatchObject({
      code: 'SERVICE_FAILED',
      message: expect.stringMatching(/WORKER_COUNT.*; it runs on with digits:2$/s),
    });
    expect(await observeService(workspace, getService(workspace.database, 'digits'), options.signal)).toMatchObject({
      state: 'Healthy',
      address,
    });
    over.abort();
    await clients;
    expect(new Set(statuses)).toEqual(new Set([200]));

    const folder = String(second.record.deployment['folder']);
    const mark = await readFile(join(folder, 'host.mark'), 'utf8');
    await removeService(workspace, 'digits', options);
    expect(isProcessAlive(mark)).toBe(false);
    expect(existsSync(folder)).toBe(false);
    expect(existsSync(join(workspace.folder, 'services', 'digits.json'))).toBe(false);
    expect(await statusOf(address, agent).catch((error: unknown) => String(error))).toMatch('ECONNREFUSED');
  },
  180_000,
);

test('a local service asks for its keys, renews one at a time, takes tokens, and keeps its port', async () => {
  await using rig = await openRig();
  const { workspace } = rig;
  const { status } = await rig.push(digitsFile, { authEnabled: true });
  const before = await readSecrets(workspace, 'digits');
  await scoreOnce(workspace);
  await expect(scoreOnce(workspace, 'a key of nobody')).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
  const renewed = 'a-key-of-my-own-that-is-long';
  await updateService(workspace, 'digits', { keys: { primary: renewed } }, { ...waiting, kind: 'keys' });
  await until(() => scoreOnce(workspace, renewed));
  await scoreOnce(workspace, before?.secondary);
  await until(() =>
    scoreOnce(workspace, before?.primary).then(
      () => false,
      () => true,
    ),
  );
  await updateService(workspace, 'digits', { settings: { tokenAuthEnabled: true } }, waiting);
  await scoreOnce(workspace);
  expect((await observeService(workspace, getService(workspace.database, 'digits'), options.signal)).address).toBe(
    status.address,
  );
  // The host's file holds them, and only its owner can read it.
  const desired = await readFile(join(workspace.folder, 'local', 'digits', 'desired.json'), 'utf8');
  expect(hostDesiredSchema.parse(JSON.parse(desired)).callers).not.toContain(renewed);
}, 180_000);

test.each(['requests', 'connections'] as const)(
  'a local service, balancing %s, starts a replica again that was killed, and its host goes on with what runs when that was',
  async (balance) => {
    await using rig = await openRig();
    const { workspace } = rig;
    const { record, status } = await rig.push(digitsFile, { numReplicas: 2, balance });
    expect(status.instances).toHaveLength(2);
    const folder = String(record.deployment['folder']);
    const pidOf = async (replica: string): Promise<number> => {
      const path = join(folder, 'processes', 'containers', replica, 'record.json');
      return (JSON.parse(await readFile(path, 'utf8')) as { process: { pid: number } }).process.pid;
    };
    process.kill(-(await pidOf('replica-1')), 'SIGKILL');
    await scoreOnce(workspace);
    const observe = () => observeService(workspace, record, options.signal);
    await until(async () => (await observe()).state !== 'Healthy', { what: 'that it is noticed', timeoutMs: 20_000 });
    await until(async () => (await observe()).state === 'Healthy', { what: 'a new replica', timeoutMs: 60_000 });

    const pids = [await pidOf('replica-1'), await pidOf('replica-2')];
    const mark = await readFile(join(folder, 'host.mark'), 'utf8');
    process.kill(Number(mark.split('-')[0]), 'SIGKILL');
    await until(async () => (await observe()).state === 'Failed');
    expect((await runFerry(['service', 'update', 'digits', '--wait'], { cwd: rig.folder })).code).toBe(0);
    expect(await observe()).toMatchObject({ state: 'Healthy', address: status.address });
    expect([await pidOf('replica-1'), await pidOf('replica-2')]).toEqual(pids);
    // What the new host starts is found at the same port.
    process.kill(-(await pidOf('replica-1')), 'SIGKILL');
    await until(async () => (await observe()).state !== 'Healthy', { what: 'that it is noticed', timeoutMs: 20_000 });
    await until(async () => (await observe()).state === 'Healthy', { what: 'a new replica', timeoutMs: 60_000 });
    process.kill(-(await pidOf('replica-2')), 'SIGKILL');
    await until(() => scoreOnce(workspace), { what: 'an answer of the new replica', timeoutMs: 20_000 });
  },
  180_000,
);

async function statusOf(address: string, agent: Agent): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const body = JSON.stringify(row);
  const headers = { 'content-type': 'application/json', 'content-length': body.length };
  const asking = request(`${address}/score`, { method: 'POST', headers, agent }, (response) => {
    response.resume().on('end', () => resolve(response.statusCode));
  });
  asking.on('error', reject);
  asking.end(body);
  return promise;
}
