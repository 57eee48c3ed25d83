import { Message as ServiceMessage } from 'azure-iot-common';
import type { Message } from 'azure-iot-device';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { openHubRig } from './hub-rig.ts';

test('Client.send() delivers a cloud-to-device message, and its feedback comes back', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  const received: Message[] = [];
  client.on('message', (message: Message) => received.push(message));
  await rig.service.open();
  const feedback: unknown[] = [];
  const receiver = (await rig.service.getFeedbackReceiver()).result as unknown as NodeJS.EventEmitter;
  receiver.on('message', (message: { readonly data: Buffer | string }) =>
    feedback.push(JSON.parse(message.data.toString())),
  );
  const message = new ServiceMessage('hello');
  message.messageId = 'c-7';
  message.ack = 'full';
  message.properties.add('colour', 'blue');
  await rig.service.send('device-1', message);
  await until(() => received.length === 1);
  expect(received[0]).toMatchObject({ data: Buffer.from('hello'), messageId: 'c-7' });
  expect(received[0]?.properties.getValue('colour')).toBe('blue');
  await until(() => feedback.length === 1);
  expect(feedback[0]).toMatchObject([{ originalMessageId: 'c-7', deviceId: 'device-1', statusCode: 'Success' }]);
  await rig.service.close();
});

test('Client.send() to a device that is not there, and the 51st message, are refused', async () => {
  await using rig = await openHubRig();
  await rig.service.open();
  await expect(rig.service.send('nobody', new ServiceMessage('x'))).rejects.toMatchObject({
    name: 'DeviceNotFoundError',
  });
  await rig.registry.create({ deviceId: 'device-1' });
  for (let index = 0; index < 50; index += 1) await rig.service.send('device-1', new ServiceMessage(String(index)));
  await expect(rig.service.send('device-1', new ServiceMessage('x'))).rejects.toMatchObject({
    name: 'DeviceMaximumQueueDepthExceededError',
  });
  const purged = await rig.rest('DELETE', '/devices/device-1/commands?api-version=2021-04-12');
  expect(purged.body).toEqual({ deviceId: 'device-1', totalMessagesPurged: 50 });
  await rig.service.close();
});

test('a token that allows nothing of this opens no connection', async () => {
  await using rig = await openHubRig();
  const client = rig.serviceClient('registryRead');
  await client.open();
  await expect(client.send('device-1', new ServiceMessage('x'))).rejects.toMatchObject({ name: 'UnauthorizedError' });
  await client.close();
});
