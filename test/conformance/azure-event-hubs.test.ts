import { Message } from 'azure-iot-device';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { until } from '../until.ts';
import { openHubRig } from './hub-rig.ts';

const eventHubs = load();

test.skipIf(eventHubs === undefined)('EventHubConsumerClient reads what devices send, held and live', async () => {
  if (eventHubs === undefined) return;
  await using rig = await openHubRig({ plainAmqpPort: 0 });
  const client = await rig.device('device-1');
  await client.sendEvent(new Message('held'));
  const consumer = new eventHubs.EventHubConsumerClient('$Default', rig.hub.eventHubConnectionString ?? '');
  expect(await consumer.getEventHubProperties()).toMatchObject({
    name: 'modelferry',
    partitionIds: ['0', '1', '2', '3'],
  });
  expect(await consumer.getPartitionProperties('0')).toMatchObject({ partitionId: '0' });
  const received: ReceivedEvent[] = [];
  const subscription = consumer.subscribe(
    { processEvents: async (events) => void received.push(...events), processError: async () => undefined },
    { startPosition: { offset: '-1' } },
  );
  await until(() => received.length === 1, { what: 'the event that was held' });
  const message = new Message('live');
  message.properties.add('k', 'v');
  await client.sendEvent(message);
  await until(() => received.length === 2, { what: 'the event that came later' });
  await subscription.close();
  await consumer.close();
  expect(received.map(({ body }) => String(body))).toEqual(['held', 'live']);
  expect(received[1]).toMatchObject({
    sequenceNumber: 1,
    properties: { k: 'v' },
    systemProperties: { 'iothub-connection-device-id': 'device-1', 'iothub-message-source': 'Telemetry' },
  });
});

interface ReceivedEvent {
  readonly body: unknown;
}

/** What the test uses of the SDK. */
interface EventHubsModule {
  readonly EventHubConsumerClient: new (
    group: string,
    connectionString: string,
  ) => {
    getEventHubProperties(): Promise<unknown>;
    getPartitionProperties(id: string): Promise<unknown>;
    subscribe(
      handlers: {
        readonly processEvents: (events: readonly ReceivedEvent[]) => Promise<void>;
        readonly processError: (error: Error) => Promise<void>;
      },
      options: { readonly startPosition: { readonly offset: string } },
    ): { close(): Promise<void> };
    close(): Promise<void>;
  };
}

/** Loads the SDK where it is installed: it is large, and no other part needs it. */
function load(): EventHubsModule | undefined {
  try {
    return createRequire(import.meta.url)('@azure/event-hubs') as EventHubsModule;
  } catch {
    return undefined;
  }
}
