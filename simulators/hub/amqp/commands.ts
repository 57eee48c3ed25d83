import type { EventContext, Message as AmqpMessage } from 'rhea';
import type { Acknowledgement } from '../commands.ts';
import { HubError, type HubErrorName } from '../hub-error.ts';
import type { Message, SystemProperties } from '../message.ts';
import type { AmqpParts } from './parts.ts';

/** What AMQP calls the errors of the hub. @see azure-iothub, dist/amqp_service_errors.js */
const conditions: Partial<Record<HubErrorName, string>> = {
  DeviceNotFound: 'amqp:not-found',
  DeviceMaximumQueueDepthExceeded: 'amqp:resource-limit-exceeded',
  MessageTooLarge: 'amqp:link:message-size-exceeded',
  ArgumentInvalid: 'amqp:invalid-field',
};

/** Takes a cloud-to-device message that a back end sent, or says why not. */
export function takeCommand({ message, delivery }: EventContext, { registry, commands }: AmqpParts): void {
  if (message === undefined || delivery === undefined) return;
  try {
    const deviceId = deviceOf(message.to ?? '');
    registry.device(deviceId);
    const acknowledgement = readAcknowledgement(message.application_properties?.['iothub-ack']);
    commands.enqueue(deviceId, readMessage(message), {
      acknowledgement,
      expiresMs: readExpiry(message.absolute_expiry_time),
    });
    delivery.accept();
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    delivery.reject({ condition: conditions[error.errorName] ?? 'amqp:internal-error', description: error.message });
  }
}

function deviceOf(to: string): string {
  const match = /^\/devices\/([^/]+)\/messages\/devicebound$/i.exec(to);
  if (match?.[1] === undefined)
    throw new HubError(
      'ArgumentInvalid',
      `The message is to "${to.slice(0, 200)}", /devices/{id}/messages/devicebound was wanted`,
    );
  return decodeURIComponent(match[1]);
}

function readAcknowledgement(value: unknown): Acknowledgement {
  return value === 'positive' || value === 'negative' || value === 'full' ? value : 'none';
}

function readExpiry(value: unknown): number | undefined {
  if (value instanceof Date) return value.getTime();
  return typeof value === 'number' && value > 0 ? value : undefined;
}

function readMessage(message: AmqpMessage): Message {
  const texts = {
    messageId: message.message_id,
    correlationId: message.correlation_id,
    userId: message.user_id,
    contentType: message.content_type,
    contentEncoding: message.content_encoding,
  };
  const given = Object.entries(texts).filter(([, value]) => value !== undefined && value !== null);
  const system: SystemProperties = Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
  const properties = Object.entries(message.application_properties ?? {});
  return {
    system,
    properties: Object.fromEntries(properties.map(([name, value]) => [name, value === null ? null : String(value)])),
    body: readBytes(message.body),
  };
}

/** A body is a data section, or one value. */
function readBytes(body: unknown): Buffer {
  if (Buffer.isBuffer(body)) return body;
  if (typeof body === 'object' && body !== null && 'content' in body) return readBytes(body.content);
  if (Array.isArray(body)) return Buffer.concat(body.map(readBytes));
  if (body === undefined || body === null) return Buffer.alloc(0);
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}
