import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { unitText } from '../../../agent/install/systemd-unit.ts';
import { makeAuthority, makeDeviceCertificate } from '../../../simulators/certificate-maker.ts';
import { type FerryRun, runFerry } from '../../ferry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { AgentProcess } from '../agent-process.ts';
import { Rig } from '../rig.ts';

const identity = 'HostName=localhost:1;DeviceId=gate;SharedAccessKey=YQ==';
const hasAnalyzer = spawnSync('systemd-analyze', ['--version']).status === 0;

/** Runs a verb of the agent that works in a folder as its `/`. */
function inRoot(root: string, verb: string, ...args: string[]): Promise<FerryRun> {
  const env = { FERRY_DEVICE_CONNECTION_STRING: '' };
  return runFerry(['agent', verb, '--root', root, ...args], { cwd: root, env });
}

function filesOf(root: string): { config: string; unit: string; state: string } {
  return {
    config: join(root, 'etc/modelferry/agent.yaml'),
    unit: join(root, 'etc/systemd/system/modelferry-agent.service'),
    state: join(root, 'var/lib/modelferry'),
  };
}

test('agent install writes settings for nobody else to read, a unit, and the folder; uninstall leaves the folder', async () => {
  await using folder = await temporaryFolder();
  const { config, unit, state } = filesOf(folder.path);
  const done = await inRoot(folder.path, 'install', '--connection-string', identity, '--engine', 'process');
  expect(done).toMatchObject({ code: 0, stderr: '' });
  expect((await stat(config)).mode & 0o777).toBe(0o600);
  expect(parse(await readFile(config, 'utf8'))).toMatchObject({ connectionString: identity, engine: 'process' });
  expect(await readFile(unit, 'utf8')).toMatch(
    /^ExecStart=\/.*\/agent\/main\.ts run --config \/etc\/modelferry\/agent.yaml$/m,
  );
  await writeFile(join(state, 'kept'), 'rows');
  expect((await inRoot(folder.path, 'uninstall')).stdout).toContain(`Kept "${state}"`);
  expect([config, unit, join(folder.path, 'etc/modelferry'), join(state, 'kept')].map(existsSync)).toEqual([
    false,
    false,
    false,
    true,
  ]);
  expect((await inRoot(folder.path, 'uninstall')).stdout).toBe('Nothing was installed.\n');
});

test('agent install again changes what is said anew, keeps the rest, and writes nothing where nothing is new', async () => {
  await using folder = await temporaryFolder();
  const { config } = filesOf(folder.path);
  const key = join(folder.path, 'key');
  await writeFile(key, 'YQ==\n');
  const who = ['--hub', 'localhost:1', '--device-id', 'gate', '--key-file', key];
  expect(await inRoot(folder.path, 'install', ...who, '--metrics', '127.0.0.1:9600')).toMatchObject({ code: 0 });
  expect((await inRoot(folder.path, 'install')).stdout).toContain('All was as it is to be.');
  expect(await inRoot(folder.path, 'install', '--upload-every', '5')).toMatchObject({ code: 0 });
  expect(parse(await readFile(config, 'utf8'))).toMatchObject({
    connectionString: identity,
    metrics: '127.0.0.1:9600',
    uploadEverySeconds: 5,
  });
});

test('agent check --config looks at what agent install has written', async () => {
  await using folder = await temporaryFolder();
  await inRoot(folder.path, 'install', '--connection-string', identity, '--state', join(folder.path, 'state'));
  const { config } = filesOf(folder.path);
  const run = await runFerry(['agent', 'check', '--config', config], { cwd: folder.path });
  expect(run.code).toBe(1);
  expect(run.stdout).toMatch(/^ok +folder +".*\/state" can be written to$/m);
  expect(run.stdout).toMatch(/^error +hub .*ECONNREFUSED/m);
});

test('agent uninstall --purge takes the folder away too', async () => {
  await using folder = await temporaryFolder();
  await inRoot(folder.path, 'install', '--connection-string', identity);
  expect(await inRoot(folder.path, 'uninstall', '--purge')).toMatchObject({ code: 0, stderr: '' });
  expect(existsSync(filesOf(folder.path).state)).toBe(false);
});

test('agent run --config runs what agent install has written', async () => {
  await using rig = await Rig.open();
  const root = join(rig.folder, 'root');
  await mkdir(root);
  const given = ['--connection-string', rig.connectionString, '--ca', rig.caFile, '--state', rig.stateFolder];
  expect(await inRoot(root, 'install', ...given, '--engine', 'process')).toMatchObject({ code: 0 });
  const { config } = filesOf(root);
  // The file names what will be there when the folder is the machine's `/`; here it is not.
  const text = await readFile(config, 'utf8');
  expect(text).toContain('ca: /etc/modelferry/ca.pem');
  await writeFile(config, text.replace('/etc/modelferry/ca.pem', join(root, 'etc/modelferry/ca.pem')));
  await using agent = new AgentProcess(['--config', config]);
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200, 60_000);
  agent.signal('SIGTERM');
  expect(await agent.exitCode()).toBe(0);
});

test('agent run --config names everything that is wrong at once, and not the key', async () => {
  await using folder = await temporaryFolder();
  const config = join(folder.path, 'agent.yaml');
  const lines = [
    'connectionString: HostName=h;SharedAccessKey=c2VjcmV0',
    'engine: steam',
    'stateFolder: here',
    'colour: red',
  ];
  await writeFile(config, lines.join('\n'));
  await using agent = new AgentProcess(['--config', config]);
  expect(await agent.exitCode()).toBe(1);
  expect(agent.output).toMatch(/^error CONFIG_INVALID: /);
  for (const word of ['"DeviceId" is missing', 'engine', 'stateFolder', 'colour']) expect(agent.output).toContain(word);
  expect(agent.output).not.toContain('c2VjcmV0');
});

test('agent install copies the certificate and its key, the key for nobody else to read; uninstall takes both away', async () => {
  await using folder = await temporaryFolder();
  const validity = { nowMs: Date.now(), days: 2 };
  const authority = await makeAuthority(validity);
  const { certPem, keyPem } = await makeDeviceCertificate({ authority, deviceId: 'gate', ...validity });
  const [certFile, keyFile] = [join(folder.path, 'given.pem'), join(folder.path, 'given.key.pem')];
  await writeFile(certFile, certPem);
  await writeFile(keyFile, authority.keyPem);
  const root = join(folder.path, 'root');
  await mkdir(root);
  const device = ['--hub', 'localhost', '--device-id', 'gate', '--certificate', certFile, '--certificate-key', keyFile];
  const wrong = await inRoot(root, 'install', ...device);
  expect(wrong).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^error CONFIG_INVALID: .*not that of the cert/),
  });
  expect(existsSync(join(root, 'etc'))).toBe(false);
  await writeFile(keyFile, keyPem);
  const place = ['--proxy', 'http://proxy:3128', '--pull-rate', '500k'];
  expect(await inRoot(root, 'install', ...device, ...place)).toMatchObject({ code: 0 });
  const own = join(root, 'etc/modelferry');
  expect(await readFile(join(own, 'device.pem'), 'utf8')).toBe(certPem);
  expect((await stat(join(own, 'device.key.pem'))).mode & 0o777).toBe(0o600);
  const settings = await readFile(join(own, 'agent.yaml'), 'utf8');
  for (const line of ['x509=true', '/etc/modelferry/device.key.pem', 'http://proxy:3128', 'pullBytesPerSecond: 500000'])
    expect(settings).toContain(line);
  expect(await inRoot(root, 'uninstall')).toMatchObject({ code: 0 });
  expect(existsSync(own)).toBe(false);
}, 60_000);

test.each([
  ['nobody', [], 2, 'USAGE'],
  ['half a device', ['--hub', 'localhost'], 2, 'USAGE'],
  ['a certificate', ['--connection-string', 'HostName=h;DeviceId=d;x509=true'], 1, 'CONFIG_INVALID'],
])('agent install for %s says what is wanted and leaves nothing', async (_, args, code, error) => {
  await using folder = await temporaryFolder();
  const run = await inRoot(folder.path, 'install', ...args);
  expect(run).toMatchObject({ code, stdout: '' });
  expect(run.stderr).toMatch(new RegExp(`^error ${error}: `));
  expect(existsSync(join(folder.path, 'etc'))).toBe(false);
});

test.skipIf(!hasAnalyzer).each(['docker', 'process'] as const)(
  'the unit for the %s engine is one that systemd takes, and its exposure is OK',
  async (engine) => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, 'modelferry-agent.service');
    const command = [process.execPath, 'run', 'with space', '100%', '$HOME'];
    await writeFile(path, unitText({ command, config: { stateFolder: '/var/lib/modelferry', engine } }));
    const verified = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
    // It looks at the machine's own units too, which may be odd where systemd is installed but does not run.
    expect(verified.stderr.split('\n').filter((line) => line.includes('modelferry'))).toEqual([]);
    const assessed = spawnSync('systemd-analyze', ['security', '--offline=true', path], { encoding: 'utf8' });
    expect(assessed.stdout).toMatch(/exposure level for modelferry-agent\.service: [1-4]\.\d OK/);
  },
);
