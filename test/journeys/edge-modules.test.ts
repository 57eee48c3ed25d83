import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../cloud/deploy/local/free-port.ts';
import { AgentProcess } from '../agent/agent-process.ts';
import { wholeManifest } from '../cloud/deploy/iotedge/manifests.ts';
import { digitsFile, logisticFile } from '../cloud/workspace-rig.ts';
import { documentOf, type FerryRun, runFerry } from '../ferry.ts';
import { startLocalWorld } from '../local-world.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';
import { pictures, score } from './cluster-world.ts';

const canRun = process.platform === 'linux';
if (!canRun) console.warn('no Linux: the journey of a service that carries other modules is skipped');

test.skipIf(!canRun)(
  'a service on IoT Edge with other modules beside it: planned, refused where they are in the way, kept on update, removed with it',
  { timeout: 300_000 },
  async () => {
    await using folder = await temporaryFolder();
    const cwd = folder.path;
    await using world = await startLocalWorld(cwd, ['--only', 'registry,hub']);
    const ferry = (...args: string[]): Promise<FerryRun> => runFerry(args, { cwd });
    const done = async (...args: string[]): Promise<Record<string, unknown>> => {
      const run = await ferry(...args, '--json');
      expect(run.stdout + run.stderr).not.toContain('a-password-of-the-registry');
      return documentOf(run, args) as Record<string, unknown>;
    };
    for (const file of [digitsFile, logisticFile]) await done('model', 'register', file, '--name', 'digits');
    for (const version of [1, 2]) await done('image', 'create', '--name', 'digits', '--model', `digits:${version}`);
    const { digest } = await done('image', 'create', '--name', 'filter', '--model', 'digits:2');
    const image = `${world.document.registry}/filter@${String(digest)}`;
    await done('edge', 'device', 'add', 'gw-1', '--tag', 'site=lab', '--connection-string-file', 'device.txt');

    const [port, filterPort] = [await freePort(), await freePort()];
    const write = async (hostPort: number): Promise<void> => {
      const bindings = { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(hostPort) }] };
      const createOptions = JSON.stringify({
        ExposedPorts: { '5001/tcp': {} },
        HostConfig: { PortBindings: bindings },
      });
      await writeFile(join(cwd, 'deployment.json'), JSON.stringify(wholeManifest({ image, createOptions })));
    };
    await write(port);
    const place = ['--image', 'digits:1', '--device-tag', 'site=lab', '--port', String(port)];
    const create = ['service', 'create', 'digits', '--target', 'iotedge', ...place, '--modules', 'deployment.json'];
    const inTheWay = await ferry(...create);
    expect(inTheWay).toMatchObject({ code: 1, stdout: '' });
    expect(inTheWay.stderr).toMatch(
      new RegExp(`^error DEPLOYMENT_INVALID: .*the module "filter" binds the port ${port} of the device`, 'm'),
    );
    await write(filterPort);

    // All that the device will run is known before anything is sent.
    const planned = await ferry('edge', 'plan', 'digits', ...place, '--modules', 'deployment.json');
    expect(planned.stdout).toMatch(
      /^gw-1:\n {2}new digits \S+ \(digits-\w+\)\n {2}new filter \S+filter@sha256:\w+ \(digits-/,
    );
    const dry = await ferry(...create, '--dry-run');
    expect(dry.stdout).toContain('filtered: FROM /messages/modules/filter/* INTO $upstream');
    expect(dry.stdout).toContain('password: (secret)');
    expect(planned.stdout + dry.stdout + dry.stderr).not.toContain('a-password-of-the-registry');
    expect(await done('edge', 'deployment', 'list')).toEqual([]);

    // Modules outlive the agent, also one of a test that fails.
    await using opened = new AsyncDisposableStack();
    opened.defer(async () => void (await ferry('agent', 'reset', '--state', 'agent')));
    const connection = ['--connection-string-file', join(cwd, 'device.txt'), '--ca', world.document.caFile];
    await using _agent = new AgentProcess([...connection, '--state', join(cwd, 'agent'), '--engine', 'process']);
    // Both images are pulled together, and most of their layers are the same.
    const carrying = await done(...create, '--wait');
    expect(carrying).toMatchObject({ state: 'Healthy', deployment: { carried: ['filter'] } });
    const both = [port, filterPort].map((each) => `http://127.0.0.1:${each}/score`);
    for (const uri of both) expect((await score(uri, {})).status).toBe(200);
    for (const file of await readdir(join(cwd, '.ferry'))) {
      if (!file.startsWith('workspace.')) continue;
      expect(await readFile(join(cwd, '.ferry', file), 'latin1')).not.toContain('a-password-of-the-registry');
    }

    // Another image keeps them, though the file is gone; what is planned of a service there is begins with what it has.
    await rm(join(cwd, 'deployment.json'));
    const next = await done('edge', 'plan', 'digits', '--image', 'digits:2');
    expect(next['places']).toEqual([
      { name: 'gw-1', runs: [expect.stringMatching(/^changed digits /), expect.stringMatching(/^same filter /)] },
    ]);
    await done('service', 'update', 'digits', '--image', 'digits:2', '--wait');
    for (const uri of both) expect((await score(uri, {})).status).toBe(200);
    const shown = JSON.stringify(await done('edge', 'deployment', 'list'));
    expect(shown.match(/"id":"digits-/g)).toHaveLength(1);

    // Without them, only they go.
    await done('service', 'update', 'digits', '--modules', '', '--wait');
    await until(async () => isRefused(both[1] ?? ''), { timeoutMs: 60_000 });
    expect((await score(both[0] ?? '', {})).status).toBe(200);

    await write(filterPort);
    await writeFile(
      join(cwd, 'service.yaml'),
      [
        'name: digits',
        'target: iotedge',
        'image: digits:2',
        'settings:',
        '  deviceTags: { site: lab }',
        `  port: ${port}`,
        '  modulesFile: deployment.json',
      ].join('\n'),
    );
    await done('apply', '-f', 'service.yaml');
    await until(async () => (await score(both[1] ?? '', {})).status === 200, { timeoutMs: 60_000 });
    expect(await done('apply', '-f', 'service.yaml')).toMatchObject({ changed: false });
    // The same file with something else in it is a change.
    await writeFile(join(cwd, 'deployment.json'), JSON.stringify(wholeManifest({ image })));
    const { stdout: differs } = await ferry('apply', '-f', 'service.yaml', '--diff', '--json');
    expect(differs).toContain('settings.modulesFile');
    expect(await done('apply', '-f', 'service.yaml')).toMatchObject({ changed: true });

    const { removed } = (await done('service', 'delete', 'digits')) as { removed: string[] };
    expect(removed).toEqual([expect.stringMatching(/^the deployment "digits-/), 'the modules on "gw-1"']);
    await until(async () => (await isRefused(both[0] ?? '')) && (await isRefused(both[1] ?? '')), {
      timeoutMs: 60_000,
    });
    const reported = async (): Promise<object> =>
      ((await done('edge', 'device', 'show', 'gw-1')) as { modules?: object }).modules ?? {};
    await until(async () => Object.keys(await reported()).length === 0, { timeoutMs: 60_000 });
  },
);

/** Whether nothing listens there any more. */
async function isRefused(uri: string): Promise<boolean> {
  return fetch(uri, { method: 'POST', body: pictures }).then(
    () => false,
    () => true,
  );
}
