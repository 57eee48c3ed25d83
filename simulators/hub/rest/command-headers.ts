import type { TakenCommand } from '../commands.ts';
import { timeOf } from '../time.ts';

/** Gives the headers that a message to a device has over HTTPS; its entity tag is the token of its lock. */
export function commandHeaders(command: TakenCommand): Readonly<Record<string, string>> {
  const { message, lock } = command;
  const { system, properties } = message;
  const own = Object.entries({
    'iothub-messageid': system.messageId,
    'iothub-correlationid': system.correlationId,
    'iothub-userid': system.userId,
    'iothub-contenttype': system.contentType,
    'iothub-contentencoding': system.contentEncoding,
  }).flatMap(([name, value]) => (value === undefined ? [] : [[name, headerText(value)] as const]));
  const application = Object.entries(properties).map(
    ([name, value]) => [`iothub-app-${encodeURIComponent(name.toWellFormed())}`, headerText(value ?? '')] as const,
  );
  return {
    ...Object.fromEntries([...own, ...application]),
    'content-type': 'application/octet-stream',
    etag: `"${lock.token}"`,
    'iothub-to': `/devices/${command.deviceId}/messages/devicebound`,
    'iothub-sequencenumber': String(command.sequence),
    'iothub-deliverycount': String(command.deliveryCount - 1),
    'iothub-enqueuedtime': timeOf(command.enqueuedMs),
    'iothub-expiry': timeOf(command.expiresMs),
    'iothub-ack': command.acknowledgement,
  };
}

/** Header values are visible ASCII; what is not is percent-encoded. */
function headerText(value: string): string {
  return /^[ -~]*$/.test(value) ? value : encodeURIComponent(value.toWellFormed());
}
