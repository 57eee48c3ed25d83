import { Client as DeviceClient, Message } from 'azure-iot-device';
import { MqttWs } from 'azure-iot-device-mqtt';
import { expect, test } from 'vitest';
import { openHubRig } from './hub-rig.ts';

test('a device comes in by MQTT over WebSocket', async () => {
  await using rig = await openHubRig();
  await rig.registry.create({ deviceId: 'device-1' });
  // The SDK goes to port 443 here whatever the name says; the agent leads it to the hub.
  const text = rig.hub.deviceConnectionString('device-1').replace(rig.hub.hostName, 'localhost');
  const client = DeviceClient.fromConnectionString(text, MqttWs);
  await client.setOptions({ mqtt: { webSocketAgent: rig.agent } });
  await client.open();
  await client.sendEvent(new Message('over a socket'));
  expect(rig.hub.readEvents().map(({ message }) => message.body.toString())).toEqual(['over a socket']);
  expect((await client.getTwin()).properties.desired).toMatchObject({ $version: 1 });
  await client.close();
});
