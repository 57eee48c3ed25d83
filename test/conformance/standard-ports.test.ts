import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { openCertificates } from '../../simulators/certificates.ts';
import { startHub } from '../../simulators/hub/hub.ts';
import { standardPorts } from '../../simulators/hub/listener.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** Ports below 1024 are the administrator's. */
const isRoot = process.getuid?.() === 0;

/** What a user writes for Azure; its first lines do what a line in the hosts file does. */
const program = `
  const dns = require('node:dns');
  dns.lookup = (name, options, done = options) =>
    options.all ? done(null, [{ address: process.env.ADDRESS, family: 4 }]) : done(null, process.env.ADDRESS, 4);
  const { Registry, Client, JobClient } = require('azure-iothub');
  const { Client: Device, Message } = require('azure-iot-device');
  const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
  (async () => {
    const registry = Registry.fromConnectionString(process.env.SERVICE);
    const { responseBody } = await registry.create({ deviceId: 'device-1' });
    const key = responseBody.authentication.symmetricKey.primaryKey;
    for (const transport of [Mqtt, MqttWs]) {
      const device = Device.fromConnectionString('HostName=standard.azure-devices.net;DeviceId=device-1;SharedAccessKey=' + key, transport);
      await device.open();
      await device.sendEvent(new Message(transport.name));
      await device.close();
    }
    const client = Client.fromConnectionString(process.env.SERVICE);
    await client.open();
    await client.send('device-1', 'hello');
    await client.close();
    await JobClient.fromConnectionString(process.env.SERVICE).createQuery().next();
    console.log('done');
    process.exit(0);
  })().catch((error) => { console.error(error); process.exit(1); });
`;

test.skipIf(!isRoot)('on the standard ports no program needs a port, an agent or a redirect', async () => {
  await using folder = await temporaryFolder();
  const certificates = await openCertificates(folder.path);
  // All of 127/8 is this machine: an address of its own has all its ports free.
  const address = `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`;
  await using hub = await startHub({ name: 'standard', host: address, morePorts: standardPorts, certificates });
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program], {
    timeout: 25_000,
    env: {
      ...process.env,
      NODE_OPTIONS: '',
      NODE_EXTRA_CA_CERTS: certificates.caFile,
      ADDRESS: address,
      SERVICE: hub.connectionStrings.iothubowner.replace(/HostName=[^;]+/, 'HostName=standard.azure-devices.net'),
    },
  });
  expect(stdout.trim()).toBe('done');
  expect(hub.readEvents().map(({ message }) => message.body.toString())).toEqual(['Mqtt', 'MqttWs']);
});
