import { expect, test } from 'vitest';
import { openExistingBuffer } from '../../agent/collect/buffer-file.ts';
import { readLedger } from '../../agent/collect/ledger.ts';
import { reportedLedgersSchema } from '../../shared/collect/reported-ledger.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { freePort } from '../../simulators/quickstart/free-port.ts';
import { openAzurite } from '../conformance/azurite-rig.ts';
import { runFerry } from '../ferry.ts';
import { until } from '../until.ts';
import { collectedStream, fillBuffer } from './filled-buffer.ts';
import { Rig } from './rig.ts';

test('the agent tells the ledger of what modules collect: to the hub, in metrics and on the device', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await Rig.open({ storage: azurite.account });
  const databasePath = await fillBuffer(rig, { rows: 5, dropped: 2 });
  const metricsAddress = { host: '127.0.0.1', port: await freePort() };
  await using _agent = rig.startAgent({ uploadEveryMs: 200, metricsAddress });
  await rig.reported(await rig.deploy({}), 200);
  const { collection } = await until(async () => {
    const { reported } = (await rig.twin()).properties as { reported: { collection?: unknown } };
    const parsed = reportedLedgersSchema.safeParse(reported.collection).data;
    return parsed?.['digits']?.streams['0']?.uploaded === 5 && { collection: parsed };
  });
  const { workspace: _, ...identity } = collectedStream;
  const ledger = { ...identity, collected: 7, uploaded: 5, buffered: 0, quarantined: 0, dropped: { overload: 2 } };
  expect(collection).toEqual({ digits: { bufferedBytes: 0, damaged: 0, streams: { 0: ledger } } });
  expect(readLedger(databasePath).streams).toMatchObject([ledger]);
  const metrics = await (await fetch(`http://127.0.0.1:${metricsAddress.port}/metrics`)).text();
  const labels = 'module_name="digits",service="digits",model="digits.v2",version="3",designation="inputs"';
  expect(metrics).toContain(`modelferry_agent_rows{${labels},state="collected",reason=""`);
  expect(metrics).toMatch(/state="dropped",reason="overload",.*\} 2$/m);
  const { stdout } = await runFerry(['agent', 'status', '--state', rig.stateFolder], { cwd: rig.folder });
  // Size, rows in the buffer, uploaded, quarantined, dropped.
  expect(stdout).toMatch(/^digits +0 B +0 +5 +0 +2$/m);
}, 60_000);

test('ReleaseQuarantine sends what storage had refused', async () => {
  await using azurite = await openAzurite();
  trustAlso(azurite.caFile);
  await using rig = await Rig.open({ storage: azurite.account });
  const databasePath = await fillBuffer(rig, { rows: 4 });
  // As it is after storage has refused five times.
  const { Sealing } = await import('../../agent/collect/sealing.ts');
  const database = openExistingBuffer(databasePath);
  if (database === undefined) throw new Error('there is no buffer');
  const sealing = new Sealing(database);
  const limits = { rowsMax: 10, bytesMax: 1e6, ageMsMax: 0 };
  const batch = sealing.seal(1, { limits, all: true, end: 'oldest', nowMs: Date.now() });
  if (batch === undefined) throw new Error('nothing was sealed');
  for (let refusals = 0; refusals < 5; refusals += 1) sealing.refuse({ ...batch, refusals });
  database.close();
  await using _agent = rig.startAgent({ uploadEveryMs: 200 });
  await rig.reported(await rig.deploy({}), 200);
  expect(readLedger(databasePath).streams).toMatchObject([{ quarantined: 4, uploaded: 0 }]);
  expect(await rig.callMethod('ReleaseQuarantine', null)).toEqual({ status: 200, payload: { rows: 4 } });
  await until(() => readLedger(databasePath).streams[0]?.uploaded === 4);
});
