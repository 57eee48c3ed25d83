import type { Address } from '../identity/identity.ts';
import { readQuery } from './username.ts';

// Every topic of the hub. @see https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub

/** What a device publishes, by its topic. */
export type Publication =
  | { readonly kind: 'telemetry'; readonly bag: string }
  | { readonly kind: 'twin-get'; readonly requestId: string }
  | { readonly kind: 'twin-report'; readonly requestId: string; readonly version: number | undefined }
  | { readonly kind: 'method-response'; readonly requestId: string; readonly status: number };

/** What a device can subscribe to. */
export type Subscription = 'commands' | 'inputs' | 'everything' | 'twin-responses' | 'desired' | 'methods';

/** Reads the topic of a publication of this device or module; `undefined` when the hub has no such topic. */
export function readTopic(topic: string, address: Address): Publication | undefined {
  const events = eventsTopic(address);
  if (topic === events || topic.startsWith(`${events}/`)) {
    return { kind: 'telemetry', bag: topic.slice(events.length + 1).replace(/\/$/, '') };
  }
  const match = /^\$iothub\/(twin\/GET|twin\/PATCH\/properties\/reported|methods\/res\/(-?\d{1,9}))\/\?(.*)$/s.exec(
    topic,
  );
  const [, name, status, text = ''] = match ?? [];
  const query = readQuery(text);
  const requestId = query.get('$rid');
  if (name === undefined || requestId === undefined || requestId === '') return undefined;
  if (name === 'twin/GET') return { kind: 'twin-get', requestId };
  if (status !== undefined) return { kind: 'method-response', requestId, status: Number(status) };
  const version = query.get('$version');
  if (version !== undefined && !/^\d{1,15}$/.test(version)) return undefined;
  return { kind: 'twin-report', requestId, version: version === undefined ? undefined : Number(version) };
}

/** Says what a topic filter of this device or module is for; `undefined` when the hub does not allow it. */
export function readFilter(filter: string, { deviceId, moduleId }: Address): Subscription | undefined {
  switch (filter) {
    case '$iothub/twin/res/#':
      return 'twin-responses';
    case '$iothub/twin/PATCH/properties/desired/#':
      return 'desired';
    case '$iothub/methods/POST/#':
      return 'methods';
    case `devices/${deviceId}/messages/devicebound/#`:
      return moduleId === undefined ? 'commands' : undefined;
    case `devices/${deviceId}/modules/${moduleId}/inputs/#`:
      return moduleId === undefined ? undefined : 'inputs';
    case `devices/${deviceId}/modules/${moduleId}/#`:
      return moduleId === undefined ? undefined : 'everything';
    default:
      return undefined;
  }
}

/** Gives the topic of what a device sends, without its properties. */
export function eventsTopic({ deviceId, moduleId }: Address): string {
  const module = moduleId === undefined ? '' : `/modules/${moduleId}`;
  return `devices/${deviceId}${module}/messages/events`;
}

/** Gives the topic of a message to a device. */
export function commandTopic(deviceId: string, bag: string): string {
  return `devices/${deviceId}/messages/devicebound/${bag}`;
}

/** Gives the topic of an answer about a twin. */
export function twinResponseTopic(status: number, requestId: string, version?: number): string {
  return `$iothub/twin/res/${status}/?$rid=${requestId}${version === undefined ? '' : `&$version=${version}`}`;
}

/** Gives the topic of a change of desired properties. */
export function desiredTopic(version: number): string {
  return `$iothub/twin/PATCH/properties/desired/?$version=${version}`;
}

/** Gives the topic of a direct method's call. */
export function methodTopic(method: string, requestId: string): string {
  return `$iothub/methods/POST/${method}/?$rid=${requestId}`;
}
