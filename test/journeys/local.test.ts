import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { digitsFile } from '../cloud/workspace-rig.ts';
import { documentOf, runFerry } from '../ferry.ts';
import { startLocalWorld } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';
import { pictures, score } from './cluster-world.ts';
import { findService } from './find-service.ts';
import { Insights } from './insights.ts';
import { scoreOverTls, tlsFlags, writeTls } from './tls-client.ts';

// Replicas are processes here.
const canRun = process.platform === 'linux';
if (!canRun) console.warn('no Linux: journeys to services of this machine are skipped');

/** Runs what has to work in a folder, and gives its document. */
function doneIn(cwd: string) {
  return async (...args: string[]): Promise<Record<string, unknown>> =>
    documentOf(await runFerry([...args, '--json'], { cwd }), args) as Record<string, unknown>;
}

test.skipIf(!canRun)(
  'a service of this machine: TLS, keys, collected rows in storage, Application Insights, logs, search, deletion leaves nothing',
  { timeout: 240_000 },
  async () => {
    await using folder = await temporaryFolder();
    await using _world = await startLocalWorld(folder.path, ['--only', 'storage']);
    const done = doneIn(folder.path);
    const certificate = await writeTls(folder.path);
    const key = 'a-key-of-the-users-own';
    await done('model', 'register', digitsFile, '--name', 'digits');
    await done('image', 'create', '--model', 'digits');
    const labels = ['--tag', 'area=vision', '--property', 'run=7'];
    const create = ['service', 'create', 'digits', '--image', 'digits', '--target', 'local', ...tlsFlags, ...labels];
    const wanted = [...create, '--auth', '--primary-key', key, '--collect', '--app-insights'];
    // Without a place to send traces to nothing is made.
    const refused = await runFerry(wanted, { cwd: folder.path });
    expect(refused.stderr).toMatch(
      /^error ENDPOINT_MISSING: Cannot send traces: the workspace has no Application Insi/,
    );
    await using insights = await Insights.start(folder.path);
    const planned = await runFerry([...wanted, '--dry-run'], { cwd: folder.path });
    expect(planned.stdout).toContain('hasUpload: true');
    const created = await done(...wanted, '--wait');
    const address = String(created['scoringAddress']);
    expect(address).toMatch(/^https:/);
    const wrong = 'not-a-key-of-this-service';
    expect(await scoreOverTls(address, { certificate, key: wrong, body: pictures })).toBe(401);
    expect(await scoreOverTls(address, { certificate, key, body: pictures })).toBe(200);
    const { stdout: logs } = await runFerry(['service', 'logs', 'digits'], { cwd: folder.path });
    expect(logs).toContain('"msg":"ready"');
    await findService(folder.path, 'digits', {
      model: 'digits:1',
      image: 'digits:1',
      digest: String(created['imageDigest']),
      target: 'local',
      tag: 'area=vision',
      property: 'run=7',
    });
    // What replicas are told is in files that their owner alone can read.
    await insights.untilArrived('digits');
    const told = await insights.filesWithKey();
    expect(told).toContain(join('local', 'digits', 'desired.json'));
    expect(told.filter((file) => file.endsWith('.log') || file.startsWith('workspace'))).toEqual([]);
    for (const file of told) expect((await stat(join(folder.path, '.ferry', file))).mode & 0o777).toBe(0o600);
    const again = await runFerry(['service', 'update', 'digits', '--wait'], { cwd: folder.path });
    for (const { stdout, stderr } of [
      planned,
      again,
      await runFerry(['service', 'show', 'digits'], { cwd: folder.path }),
    ])
      expect(stdout + stderr).not.toContain(insights.key);
    // What waits is sent when the replica ends.
    await done('service', 'delete', 'digits');
    expect(JSON.stringify(await done('data', 'list', '--service', 'digits'))).toContain('inputs');
    expect(await done('service', 'list')).toEqual([]);
    expect(await insights.filesWithKey()).toEqual([]);
    await expect(scoreOverTls(address, { certificate, key, body: pictures })).rejects.toThrow('ECONNREFUSED');
  },
);

test.skipIf(!canRun).each(['requests', 'connections'])(
  'a service of this machine that balances %s has a replica more under load, and lets it go after',
  { timeout: 240_000 },
  async (balance) => {
    await using folder = await temporaryFolder();
    const done = doneIn(folder.path);
    await done('workspace', 'init');
    await done('model', 'register', digitsFile, '--name', 'digits');
    await done('image', 'create', '--model', 'digits');
    const scaled = ['--autoscale-min-replicas', '1', '--autoscale-max-replicas', '2', '--autoscale-down-seconds', '1'];
    const create = ['service', 'create', 'digits', '--image', 'digits', '--target', 'local', '--wait', ...scaled];
    const { scoringUri } = await done(...create, '--replica-max-concurrent-requests', '1', '--balance', balance);
    const replicas = async (): Promise<number> =>
      ((await done('service', 'show', 'digits'))['instances'] as unknown[]).length;
    expect(await replicas()).toBe(1);
    const over = new AbortController();
    const callers = Array.from({ length: 4 }, async () => {
      // Many rows, so that it is the replica that has to do.
      while (!over.signal.aborted) expect((await score(String(scoringUri), {}, 500)).status).toBe(200);
    });
    await until(async () => (await replicas()) === 2, { timeoutMs: 60_000 });
    over.abort();
    await Promise.all(callers);
    await until(async () => (await replicas()) === 1, { timeoutMs: 60_000 });
    await done('service', 'delete', 'digits');
  },
);
