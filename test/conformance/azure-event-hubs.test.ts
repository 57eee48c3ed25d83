import {
  type EventPosition,
  EventHubConsumerClient,
  type ReceivedEventData,
  earliestEventPosition,
  latestEventPosition,
} from '@azure/event-hubs';
import { Message } from 'azure-iot-device';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { type HubRig, openHubRig } from './hub-rig.ts';

test.each([
  ['over TLS', {}],
  ['over plain AMQP', { plainAmqpPort: 0 }],
])('EventHubConsumerClient reads what devices send, held and live: %s', async (_how, options) => {
  await using rig = await openHubRig(options);
  const client = await rig.device('device-1');
  await client.sendEvent(new Message('held'));
  await using reader = await read(rig, earliestEventPosition);
  await until(() => reader.events.length === 1, { what: 'the event that was held' });
  await client.sendEvent(new Message('live'));
  await until(() => reader.events.length === 2, { what: 'the event that came later' });
  expect(reader.events.map(textOf)).toEqual(['held', 'live']);
  expect(reader.events.map(({ sequenceNumber, offset }) => [sequenceNumber, offset])).toEqual([
    [0, '0'],
    [1, '1'],
  ]);
});

test('an event says which device, module and output it came from, and carries all properties', async () => {
  await using rig = await openHubRig();
  const device = await rig.device('device-1');
  const message = new Message(JSON.stringify({ value: 1 }));
  message.messageId = 'm-1';
  message.correlationId = 'c-1';
  message.contentType = 'application/json';
  message.contentEncoding = 'utf-8';
  message.properties.add('k', 'v ü');
  await device.sendEvent(message);
  const module = await rig.module('device-1', 'camera');
  await module.sendOutputEvent('frames', new Message('frame'));
  await using reader = await read(rig, earliestEventPosition);
  await until(() => reader.events.length === 2);
  const [first, second] = reader.events;
  expect(first).toMatchObject({
    messageId: 'm-1',
    correlationId: 'c-1',
    contentType: 'application/json',
    properties: { k: 'v ü' },
    systemProperties: {
      'iothub-connection-device-id': 'device-1',
      'iothub-connection-auth-generation-id': (await rig.registry.get('device-1')).responseBody.generationId,
      'iothub-message-source': 'Telemetry',
      contentEncoding: 'utf-8',
    },
  });
  expect(JSON.parse(String(first?.systemProperties?.['iothub-connection-auth-method']))).toMatchObject({
    scope: 'device',
    type: 'sas',
    issuer: 'iothub',
  });
  expect(Math.abs(Date.now() - (first?.enqueuedTimeUtc.getTime() ?? 0))).toBeLessThan(60_000);
  expect(new Date(first?.systemProperties?.['iothub-enqueuedtime']).getTime()).toBe(first?.enqueuedTimeUtc.getTime());
  expect(second?.systemProperties).toMatchObject({
    'iothub-connection-device-id': 'device-1',
    'iothub-connection-module-id': 'camera',
    'iothub-outputname': 'frames',
  });
});

test('a reader begins where it wants to: at an offset, a sequence number, a time, or with what comes next', async () => {
  await using rig = await openHubRig();
  const client = await rig.device('device-1');
  for (const text of ['0', '1', '2', '3']) await client.sendEvent(new Message(text));
  await using all = await read(rig, earliestEventPosition);
  await until(() => all.events.length === 4);
  await using next = await read(rig, latestEventPosition);
  await using offset = await read(rig, { offset: '1' });
  await using inclusive = await read(rig, { sequenceNumber: 1, isInclusive: true });
  await using sequence = await read(rig, { sequenceNumber: 2 });
  await using past = await read(rig, { enqueuedOn: Date.now() - 60_000 });
  const readers = [offset, inclusive, sequence, past];
  await until(() => readers.map(({ events }) => events.length).join() === '2,3,1,4');
  expect(readers.map(({ events }) => events.map(textOf).join(''))).toEqual(['23', '123', '3', '0123']);
  await until(async () => {
    await client.sendEvent(new Message('later'));
    return next.events.length > 0;
  });
  expect(new Set(next.events.map(textOf))).toEqual(new Set(['later']));
});

test('the endpoint tells its partitions; one device is always in the same, and each counts from 0', async () => {
  await using rig = await openHubRig();
  const ids = Array.from({ length: 8 }, (_, index) => `device-${index}`);
  for (const id of ids) {
    const client = await rig.device(id);
    for (const text of ['a', 'b']) await client.sendEvent(new Message(text));
  }
  await using reader = await read(rig, earliestEventPosition);
  await until(() => reader.events.length === 16);
  const { consumer } = reader;
  expect(await consumer.getEventHubProperties()).toMatchObject({
    name: 'modelferry',
    partitionIds: ['0', '1', '2', '3'],
    createdOn: expect.any(Date),
  });
  expect(await consumer.getPartitionIds()).toEqual(['0', '1', '2', '3']);
  const seen = reader.events.map((event, index) => ({ event, partition: reader.partitions[index] ?? '' }));
  for (const id of ids) {
    const own = seen.filter(({ event }) => event.systemProperties?.['iothub-connection-device-id'] === id);
    expect(own.map(({ event }) => textOf(event))).toEqual(['a', 'b']);
    expect(new Set(own.map(({ partition }) => partition)).size).toBe(1);
  }
  for (const partitionId of await consumer.getPartitionIds()) {
    const own = seen.filter(({ partition }) => partition === partitionId);
    expect(own.map(({ event }) => event.sequenceNumber)).toEqual(own.map((_, index) => index));
    const last = own.length - 1;
    expect(await consumer.getPartitionProperties(partitionId)).toMatchObject({
      partitionId,
      isEmpty: own.length === 0,
      lastEnqueuedSequenceNumber: last,
      ...(own.length === 0 ? {} : { beginningSequenceNumber: 0, lastEnqueuedOffset: String(last) }),
    });
  }
  await expect(consumer.getPartitionProperties('9')).rejects.toThrow(/no such partition/i);
});

test('a reader needs a token that allows ServiceConnect', async () => {
  await using rig = await openHubRig();
  const { registryRead } = rig.hub.connectionStrings;
  const [, key = ''] = /SharedAccessKey=(.+)$/.exec(registryRead) ?? [];
  const text = rig.hub.eventHubConnectionString
    .replace('SharedAccessKeyName=service', 'SharedAccessKeyName=registryRead')
    .replace(/SharedAccessKey=[^;]+/, `SharedAccessKey=${key}`);
  await using reader = await read(rig, earliestEventPosition, text);
  const error = await until(() => reader.errors[0]);
  expect(error.message).toContain('ServiceConnect');
});

interface Reader extends AsyncDisposable {
  readonly consumer: EventHubConsumerClient;
  readonly events: ReceivedEventData[];
  /** The partition of each event. */
  readonly partitions: string[];
  readonly errors: Error[];
}

/** Reads all partitions from a position on, until it is disposed of. */
async function read(
  rig: HubRig,
  startPosition: EventPosition,
  connectionString = rig.hub.eventHubConnectionString,
): Promise<Reader> {
  const consumer = new EventHubConsumerClient('$Default', connectionString, { retryOptions: { maxRetries: 0 } });
  const events: ReceivedEventData[] = [];
  const partitions: string[] = [];
  const errors: Error[] = [];
  const subscription = consumer.subscribe(
    {
      processEvents: async (batch, { partitionId }) => {
        events.push(...batch);
        partitions.push(...batch.map(() => partitionId));
      },
      processError: async (error) => void errors.push(error),
    },
    { startPosition },
  );
  return {
    consumer,
    events,
    partitions,
    errors,
    [Symbol.asyncDispose]: async () => {
      await subscription.close();
      await consumer.close();
    },
  };
}

function textOf({ body }: ReceivedEventData): string {
  return Buffer.isBuffer(body) ? body.toString() : typeof body === 'string' ? body : JSON.stringify(body);
}
