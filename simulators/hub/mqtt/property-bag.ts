import type { SystemProperties } from '../message.ts';

/** What the system properties are called in a property bag. @see https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub */
const names = {
  messageId: '$.mid',
  correlationId: '$.cid',
  userId: '$.uid',
  to: '$.to',
  contentType: '$.ct',
  contentEncoding: '$.ce',
  expiry: '$.exp',
  outputName: '$.on',
  interfaceId: '$.ifid',
  componentName: '$.sub',
  creationTime: '$.ctime',
} as const satisfies Partial<Record<keyof SystemProperties, string>>;

const keys = new Map(Object.entries(names).map(([key, name]) => [name as string, key]));

/** What a property bag says. */
export interface PropertyBag {
  readonly system: SystemProperties;
  readonly properties: Readonly<Record<string, string | null>>;
}

/**
 * Reads the property bag at the end of a topic: `key`, `key=` or `key=value`, percent-encoded, `$.x` with the dollar sign
 * encoded or not.
 * @throws {URIError} when its encoding is damaged
 */
export function readBag(bag: string): PropertyBag {
  const system = new Map<string, string>();
  const properties = new Map<string, string | null>();
  // Some clients send the bag as a query.
  for (const pair of bag.replace(/^\?/, '').split('&')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    const name = decodeURIComponent(at === -1 ? pair : pair.slice(0, at));
    const value = at === -1 ? null : decodeURIComponent(pair.slice(at + 1));
    const key = keys.get(name);
    if (key === undefined) properties.set(name, value);
    else system.set(key, value ?? '');
  }
  return { system: Object.fromEntries(system), properties: Object.fromEntries(properties) };
}

/** Writes a property bag; everything is encoded, since SDKs split at `&` and `=`. */
export function writeBag({ system, properties }: PropertyBag): string {
  const own = Object.entries(names).flatMap(([key, name]) => {
    const value = system[key as keyof typeof names];
    return value === undefined ? [] : [[name, value] as const];
  });
  return [...own, ...Object.entries(properties)]
    .map(([name, value]) => (value === null ? encode(name) : `${encode(name)}=${encode(value)}`))
    .join('&');
}

/** Lone surrogates, which no UTF-8 text has, become the replacement character. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
