import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';
import { AgentProcess } from './agent-process.ts';
import { Rig } from './rig.ts';

test('agent run ends with 0 on SIGTERM, within 10 s, and has told the hub', async () => {
  await using rig = await Rig.open();
  const file = join(rig.folder, 'connection-string');
  await writeFile(file, `${rig.connectionString}\n`);
  const place = ['--connection-string-file', file, '--ca', rig.caFile, '--state', rig.stateFolder];
  await using agent = new AgentProcess([...place, '--engine', 'process', '--log-format', 'text']);
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  const before = performance.now();
  agent.signal('SIGTERM');
  expect(await agent.exitCode()).toBe(0);
  expect(performance.now() - before).toBeLessThan(10_000);
  expect((await rig.twin()).properties.reported.lastDesiredStatus?.code).toBe(406);
});

test('agent run with a wrong key ends with 1 and one error that says what to check, and not the key', async () => {
  await using rig = await Rig.open();
  const wrong = btoa('a wrong key');
  const connectionString = rig.connectionString.replace(/SharedAccessKey=.*/, `SharedAccessKey=${wrong}`);
  const place = ['--ca', rig.caFile, '--state', rig.stateFolder, '--engine', 'process', '--log-level', 'error'];
  await using agent = new AgentProcess(place, { FERRY_DEVICE_CONNECTION_STRING: connectionString });
  expect(await agent.exitCode()).toBe(1);
  expect(agent.output).toMatch(/^error HUB_UNAUTHORIZED: .*localhost:\d+.*\ncause: .*\nnext: .*\n$/);
  expect(agent.output).not.toContain(wrong);
});

test('agent run without the hub goes on trying, and says which address and why', async () => {
  await using folder = await temporaryFolder();
  const connectionString = 'HostName=localhost:1;DeviceId=gate;SharedAccessKey=YQ==';
  const place = ['--state', folder.path, '--engine', 'process', '--log-format', 'json'];
  await using agent = new AgentProcess(place, { FERRY_DEVICE_CONNECTION_STRING: connectionString });
  await until(() => (agent.output.match(/HUB_UNREACHABLE/g)?.length ?? 0) >= 2, { timeoutMs: 25_000 });
  expect(agent.output).toMatch(/Cannot reach the hub at localhost:1: .*ECONNREFUSED/);
  agent.signal('SIGINT');
  expect(await agent.exitCode()).toBe(0);
});

test.each([
  ['no connection string', [], 2, 'error USAGE: '],
  ['one that is none', ['--connection-string', 'nothing'], 1, 'error CONNECTION_STRING_INVALID: '],
  ['a file that is not there', ['--connection-string-file', '/nowhere'], 1, 'error FILE_UNREADABLE: '],
  ['an interval that is none', ['--upload-every', 'often'], 2, 'upload-every'],
  ['an engine that is none', ['--engine', 'steam'], 2, 'steam'],
])('agent run with %s says so', async (_, args, exitCode, words) => {
  await using agent = new AgentProcess(args);
  expect(await agent.exitCode()).toBe(exitCode);
  expect(agent.output).toContain(words);
});
