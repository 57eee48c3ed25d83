import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { openHubRig } from './hub-rig.ts';

/** What a user writes for Azure: nothing in it knows of a simulator. */
const program = `
  const { Registry, Client, Amqp, AmqpWs } = require('azure-iothub');
  const { Client: Device, Message } = require('azure-iot-device');
  const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
  const service = process.env.SERVICE;
  (async () => {
    const registry = Registry.fromConnectionString(service);
    const { responseBody } = await registry.create({ deviceId: 'device-1' });
    const key = responseBody.authentication.symmetricKey.primaryKey;
    for (const transport of [Mqtt, MqttWs]) {
      const device = Device.fromConnectionString('HostName=modelferry.azure-devices.net;DeviceId=device-1;SharedAccessKey=' + key, transport);
      await device.open();
      await device.sendEvent(new Message(transport.name));
      await device.close();
    }
    for (const transport of [Amqp, AmqpWs]) {
      const client = Client.fromConnectionString(service, transport);
      await client.open();
      await client.send('device-1', 'hello');
      await client.close();
    }
    console.log('done');
    process.exit(0);
  })().catch((error) => { console.error(error); process.exit(1); });
`;

test('a program written for azure-devices.net runs against the simulator without a change', async () => {
  await using rig = await openHubRig();
  const redirect = fileURLToPath(new URL('../../simulators/hub/iothub-redirect.cjs', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--require', redirect, '-e', program], {
    timeout: 25_000,
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      NODE_EXTRA_CA_CERTS: rig.certificates.caFile,
      IOTHUB_SIMULATOR: `modelferry.azure-devices.net=127.0.0.1:${rig.hub.port}`,
      SERVICE: rig.hub.connectionStrings.iothubowner.replace(/HostName=[^;]+/, 'HostName=modelferry.azure-devices.net'),
    },
  });
  expect(stdout.trim()).toBe('done');
  expect(rig.hub.readEvents().map(({ message }) => message.body.toString())).toEqual(['Mqtt', 'MqttWs']);
  expect((await rig.registry.get('device-1')).responseBody).toMatchObject({ cloudToDeviceMessageCount: 2 });
});
