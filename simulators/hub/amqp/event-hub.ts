import type { EventContext, Sender } from 'rhea';
import { type EventLog, type StoredEvent, partitionCount } from '../events.ts';
import { dataSection } from './data-section.ts';
import type { Result } from './gateway.ts';
import { amqpTypes } from './types.ts';

/** The built-in endpoint, as the Event Hubs protocol shows it. */
export interface EventHub {
  /** Answers a question about the hub or a partition. */
  describe(request: Readonly<Record<string, unknown>>): Result;
  /** Opens a reader of a partition; says whether there is such a one. */
  openReader(sender: Sender, address: string): boolean;
}

/**
 * Makes the Event Hubs-compatible endpoint of a hub.
 * @see https://learn.microsoft.com/azure/event-hubs/event-hubs-amqp-protocol-guide
 */
export function openEventHub(options: { readonly events: EventLog; readonly name: string }): EventHub {
  const { events, name } = options;
  const createdMs = Date.now();
  return {
    describe: (request) => describe(request, { events, name, createdMs }),
    openReader: (sender, address) => {
      const match = /^([^/]+)\/ConsumerGroups\/([^/]+)\/Partitions\/(\d{1,3})$/i.exec(address);
      const partition = Number(match?.[3]);
      if (match?.[1]?.toLowerCase() !== name.toLowerCase() || partition >= partitionCount) return false;
      startReading(sender, { events, partition, from: firstSequence(sender, { events, partition }) });
      return true;
    },
  };
}

function describe(
  request: Readonly<Record<string, unknown>>,
  { events, name, createdMs }: { readonly events: EventLog; readonly name: string; readonly createdMs: number },
): Result {
  const types = amqpTypes();
  if (request['operation'] !== 'READ' || String(request['name']).toLowerCase() !== name.toLowerCase()) {
    return { status: 404, description: 'There is no such entity', body: undefined };
  }
  if (request['type'] === 'com.microsoft:eventhub') {
    const ids = Array.from({ length: partitionCount }, (_, partition) => String(partition));
    const body = {
      name,
      type: 'com.microsoft:eventhub',
      created_at: types.wrap_timestamp(createdMs),
      partition_count: types.wrap_int(partitionCount),
      // 0xa1: an array of strings of up to 255 bytes.
      partition_ids: types.wrap_array(ids, 0xa1, undefined),
    };
    return { status: 200, description: 'OK', body };
  }
  const partition = Number(request['partition']);
  if (request['type'] !== 'com.microsoft:partition' || !(partition >= 0 && partition < partitionCount)) {
    return { status: 404, description: 'There is no such partition', body: undefined };
  }
  const held = events.read(partition);
  const last = events.nextSequence(partition) - 1;
  const body = {
    name,
    type: 'com.microsoft:partition',
    partition: String(partition),
    begin_sequence_number: types.wrap_long(held[0]?.sequence ?? Math.max(0, last)),
    last_enqueued_sequence_number: types.wrap_long(last),
    last_enqueued_offset: String(last),
    last_enqueued_time_utc: types.wrap_timestamp(held.at(-1)?.enqueuedMs ?? 0),
    is_partition_empty: held.length === 0,
  };
  return { status: 200, description: 'OK', body };
}

/** Reads where a reader wants to begin: after (or at) an offset, a sequence number, a time, or at the end. */
function firstSequence(sender: Sender, of: { readonly events: EventLog; readonly partition: number }): number {
  const { events, partition } = of;
  const next = events.nextSequence(partition);
  const filter = JSON.stringify(sender.source?.filter ?? {});
  const match = /amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time) (>=?) '([^']*)'/.exec(filter);
  if (match === null) return 0;
  const [, field, comparison, value = ''] = match;
  if (value === '@latest') return next;
  const from = Number(value) + (comparison === '>' ? 1 : 0);
  if (field !== 'enqueued-time') return Math.max(0, from);
  return events.read(partition).find(({ enqueuedMs }) => enqueuedMs >= from)?.sequence ?? next;
}

function startReading(
  sender: Sender,
  of: { readonly events: EventLog; readonly partition: number; readonly from: number },
): void {
  const { events, partition } = of;
  let next = of.from;
  const pump = (): void => {
    while (sender.is_open() && sender.sendable()) {
      const [event] = events.read(partition, next, 1);
      if (event === undefined) return;
      next = event.sequence + 1;
      sender.send(encode(event));
    }
  };
  const onEvent = (event: StoredEvent): void => {
    if (event.partition === partition) pump();
  };
  const end = (): void => void events.events.off('event', onEvent);
  sender.on('sendable', pump);
  events.events.on('event', onEvent);
  sender.once('sender_close', (_context: EventContext) => end());
  sender.connection.once('disconnected', end);
  sender.connection.once('connection_close', end);
  pump();
}

/** @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-construct */
function encode({ sequence, enqueuedMs, sender, source, message }: StoredEvent): Parameters<Sender['send']>[0] {
  const types = amqpTypes();
  const { system, properties, body } = message;
  const { deviceId, moduleId } = sender.address;
  const enqueued = types.wrap_timestamp(enqueuedMs);
  return {
    ...(system.messageId === undefined ? {} : { message_id: system.messageId }),
    ...(system.correlationId === undefined ? {} : { correlation_id: system.correlationId }),
    ...(system.userId === undefined ? {} : { user_id: system.userId }),
    ...(system.contentType === undefined ? {} : { content_type: system.contentType }),
    ...(system.contentEncoding === undefined ? {} : { content_encoding: system.contentEncoding }),
    application_properties: { ...properties },
    message_annotations: {
      'x-opt-sequence-number': types.wrap_long(sequence),
      'x-opt-offset': String(sequence),
      'x-opt-enqueued-time': enqueued,
      'iothub-connection-device-id': deviceId,
      ...(moduleId === undefined ? {} : { 'iothub-connection-module-id': moduleId }),
      ...(system.outputName === undefined ? {} : { 'iothub-outputname': system.outputName }),
      ...(system.interfaceId === undefined ? {} : { 'iothub-interface-id': system.interfaceId }),
      ...(system.componentName === undefined ? {} : { 'dt-subject': system.componentName }),
      'iothub-connection-auth-method': JSON.stringify({ ...sender.authMethod, acceptingIpFilterRule: null }),
      'iothub-connection-auth-generation-id': sender.generationId,
      'iothub-enqueuedtime': enqueued,
      'iothub-message-source': source,
    },
    body: dataSection(body),
  };
}
