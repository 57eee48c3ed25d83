import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../../simulators/quickstart/free-port.ts';
import { runFerry } from '../../ferry.ts';
import { until } from '../../until.ts';
import { Rig } from '../rig.ts';

test('agent status tells modules, link and deployment, as a table and as JSON, without the hub', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  const version = await rig.deploy({ digits: { image } });
  await rig.reported(version, 200);
  const place = ['agent', 'status', '--state', rig.stateFolder];
  const { stdout } = await runFerry([...place, '--json'], { cwd: rig.folder });
  expect(JSON.parse(stdout)).toMatchObject({
    deviceId: 'gate',
    connection: { isUp: true },
    deployment: { version, code: 200, isOnProbation: false, hasFallback: false },
    modules: [{ name: 'digits', status: 'running', image, restartCount: 0 }],
    pulls: [],
  });
  const text = (await runFerry(place, { cwd: rig.folder })).stdout;
  expect(text).toMatch(/^device +gate$/m);
  expect(text).toMatch(/connected for \d+ s$/m);
  expect(text).toMatch(/^edge hub +not run: .*no routes$/m);
  expect(text).toMatch(new RegExp(`^digits +running +\\d+ s +0 +${image}`, 'm'));
  expect((await stat(join(rig.stateFolder, 'agent.sock'))).mode & 0o777).toBe(0o600);

  await rig.request('PATCH', '/_sim/faults', { outageMs: 60_000 });
  await until(async () => (await runFerry(place, { cwd: rig.folder })).stdout.includes('not connected for'));
});

test('agent status says that no agent runs', async () => {
  await using rig = await Rig.open();
  const { code, stderr } = await runFerry(['agent', 'status', '--state', rig.folder], { cwd: rig.folder });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error AGENT_UNREACHABLE: Cannot ask the agent of ".*": none answers there\n/);
});

test('the agent serves health and metrics with the names of IoT Edge', async () => {
  await using rig = await Rig.open();
  const metricsAddress = { host: '127.0.0.1', port: await freePort() };
  await using _agent = rig.startAgent({ metricsAddress });
  const address = `http://127.0.0.1:${metricsAddress.port}`;
  await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200);
  await rig.callMethod('ping', null);
  const health = await fetch(`${address}/health`);
  expect([health.status, await health.text()]).toEqual([200, '200 \nhub: connected\n']);
  const metrics = await (await fetch(`${address}/metrics`)).text();
  expect(metrics).toMatch(/^edgeAgent_module_start_total\{module_name="digits",.*edge_device="gate".*\} 1$/m);
  expect(metrics).toMatch(/^edgeagent_direct_method_invocations_count\{method_name="ping",.*\} 1$/m);
  expect(metrics).toMatch(/^modelferry_agent_hub_connected\{.*\} 1$/m);
  expect(metrics).toMatch(/^edgeAgent_used_memory_bytes\{.*\} \d{8,}$/m);
  // What is told to other machines is no more than that.
  expect((await fetch(`${address}/status`)).status).toBe(404);
  expect((await fetch(`${address}/health`, { method: 'POST' })).status).toBe(405);
});
