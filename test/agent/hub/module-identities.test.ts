import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import azureDevice from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { until } from '../../until.ts';
import { deviceId, Rig, waitingScript } from '../rig.ts';

interface ModuleIdentity {
  readonly moduleId: string;
  readonly managedBy: string | null;
}

async function identities(rig: Rig): Promise<Record<string, string | null>> {
  const modules = (await rig.request('GET', `/devices/${deviceId}/modules`)) as ModuleIdentity[];
  return Object.fromEntries(
    modules.filter(({ moduleId }) => !moduleId.startsWith('$')).map(({ moduleId, managedBy }) => [moduleId, managedBy]),
  );
}

test('a module signs in to the hub with the unmodified SDK by what its environment holds', async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const script = `printf %s "$EdgeHubConnectionString" > "$MODELFERRY_DATA_DIR/identity"\n${waitingScript}`;
  const version = await rig.deploy({ camera: { image: await rig.putImage(script) } });
  const reported = await rig.reported(version, 200);
  const identity = await readFile(join(rig.dataFolder('camera'), 'identity'), 'utf8');
  expect(identity).toContain(`DeviceId=${deviceId};ModuleId=camera;SharedAccessKey=`);
  expect(JSON.stringify(reported)).not.toContain('SharedAccessKey');
  await until(async () => (await identities(rig))['camera'] === 'IotEdge');
  process.env['EdgeHubConnectionString'] = identity;
  try {
    const client = await until(() => azureDevice.ModuleClient.fromEnvironment(Mqtt).then(openOrNothing));
    const twin = await client.getTwin();
    twin.properties.reported['update']({ sees: 'a cat' }, () => undefined);
    await until(async () => {
      const kept = (await rig.request('GET', `/twins/${deviceId}/modules/camera`)) as {
        properties: { reported: { sees?: string } };
      };
      return kept.properties.reported.sees === 'a cat';
    });
    await client.close();
  } finally {
    delete process.env['EdgeHubConnectionString'];
  }
}, 40_000);

test('the agent makes identities of modules, removes those that nobody wants, and leaves those that others made', async () => {
  await using rig = await Rig.open();
  await rig.request('PUT', `/devices/${deviceId}/modules/theirs`, { deviceId, moduleId: 'theirs' });
  await rig.request('PUT', `/devices/${deviceId}/modules/left`, { deviceId, moduleId: 'left', managedBy: 'iotedge' });
  await using _agent = rig.startAgent();
  await rig.deploy({ one: { image: await rig.putImage() }, two: { image: await rig.putImage() } });
  await until(async () => JSON.stringify(await identities(rig)).includes('"two"'), { timeoutMs: 20_000 });
  await until(async () => !('left' in (await identities(rig))), { timeoutMs: 20_000 });
  expect(await identities(rig)).toEqual({ theirs: null, one: 'IotEdge', two: 'IotEdge' });
  await rig.deploy({ one: { image: await rig.putImage() } });
  await until(async () => !('two' in (await identities(rig))), { timeoutMs: 20_000 });
  expect(await identities(rig)).toEqual({ theirs: null, one: 'IotEdge' });
}, 60_000);

/** The hub may have the module's identity, but not yet its key. */
async function openOrNothing(client: azureDevice.ModuleClient): Promise<azureDevice.ModuleClient | undefined> {
  client.setRetryPolicy({ shouldRetry: () => false, nextRetryTimeout: () => 0 });
  return client.open().then(
    () => client,
    () => undefined,
  );
}
