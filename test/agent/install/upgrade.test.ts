import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { openAzurite } from '../../conformance/azurite-rig.ts';
import { runFerry } from '../../ferry.ts';
import { until } from '../../until.ts';
import { AgentProcess } from '../agent-process.ts';
import { fillBuffer } from '../filled-buffer.ts';
import { Rig } from '../rig.ts';

test('agent install by a newer program takes its place, and what is buffered gets to storage once', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await Rig.open({ storage: azurite.account });
  const root = join(rig.folder, 'root');
  await mkdir(root);
  const caFile = join(rig.folder, 'all.pem');
  await writeFile(caFile, `${await readFile(rig.caFile, 'utf8')}${await readFile(azurite.caFile, 'utf8')}`);
  const install = (...args: string[]) => runFerry(['agent', 'install', '--root', root, ...args], { cwd: root });
  const given = ['--connection-string', rig.connectionString, '--ca', caFile, '--state', rig.stateFolder];
  expect(await install(...given, '--engine', 'process', '--keep-modules', '--upload-every', '1')).toMatchObject({
    code: 0,
  });
  const config = join(root, 'etc/modelferry/agent.yaml');
  const unit = join(root, 'etc/systemd/system/modelferry-agent.service');
  // The files name what will be there when the folder is the machine's `/`; here it is not.
  const settings = (await readFile(config, 'utf8')).replace('/etc/modelferry/ca.pem', caFile);
  await writeFile(config, settings);
  const databasePath = await fillBuffer(rig, { rows: 5 });
  const image = await rig.putImage();
  const run = ['--config', config];
  {
    await using older = new AgentProcess(run);
    await rig.reported(await rig.deploy({ digits: { image } }), 200, 60_000);
    await until(() => readLedger(databasePath).streams[0]?.uploaded === 5, { timeoutMs: 20_000 });
    // From here on nothing gets out.
    await rig.request('PATCH', '/_sim/faults', { outageMs: 3_600_000 });
    await fillBuffer(rig, { rows: 7 });
    older.signal('SIGTERM');
    expect(await older.exitCode()).toBe(0);
  }
  expect(readLedger(databasePath).streams).toMatchObject([{ collected: 12, uploaded: 5, buffered: 7 }]);
  const pid = await readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8');

  // As it is where the program before was in another folder.
  await writeFile(unit, (await readFile(unit, 'utf8')).replace(/^ExecStart=\S+/m, 'ExecStart=/opt/older/ferry'));
  const upgraded = await install();
  expect(upgraded).toMatchObject({ code: 0, stdout: expect.stringContaining('modelferry-agent.service') });
  expect(await readFile(unit, 'utf8')).toContain(`ExecStart=${process.execPath}`);
  expect(await readFile(config, 'utf8')).toBe(settings);
  expect(readLedger(databasePath).streams).toMatchObject([{ collected: 12, uploaded: 5, buffered: 7 }]);

  await rig.request('PATCH', '/_sim/faults', { outageMs: 0 });
  await using _newer = new AgentProcess(run);
  await until(() => readLedger(databasePath).streams[0]?.uploaded === 12, { timeoutMs: 20_000 });
  expect(readLedger(databasePath).streams).toMatchObject([{ collected: 12, uploaded: 12, buffered: 0, dropped: {} }]);
  expect(await readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8')).toBe(pid);
}, 120_000);
