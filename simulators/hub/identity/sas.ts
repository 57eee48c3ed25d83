import { createHmac, timingSafeEqual } from 'node:crypto';
import { HubError } from '../hub-error.ts';

/**
 * A shared access signature as it came in, not yet verified.
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas
 */
export interface Sas {
  /** The audience exactly as it was sent: what the signature was made over. */
  readonly rawResource: string;
  /** Host of the audience, lower case, with the port if it names one. */
  readonly host: string;
  /** Path segments of the audience, percent-decoded, lower case. */
  readonly path: readonly string[];
  readonly signature: string;
  /** When it ends, in milliseconds since 1970. */
  readonly expiresMs: number;
  /** As it was sent: seconds since 1970. */
  readonly rawExpiry: string;
  /** The hub policy whose key signed it; without one it is a device's or module's key. */
  readonly policy: string | undefined;
}

const prefix = 'SharedAccessSignature ';
const sasBytesMax = 4096;

/**
 * Reads a shared access signature: the pairs come in any order, each split at its first `=`.
 * @throws {HubError} IotHubUnauthorizedAccess when it is none
 */
export function readSas(text: string): Sas {
  if (!text.startsWith(prefix) || text.length > sasBytesMax) refuse('a shared access signature was wanted');
  const pairs = new Map<string, string>();
  for (const pair of text.slice(prefix.length).trim().split('&')) {
    const at = pair.indexOf('=');
    if (at > 0) pairs.set(pair.slice(0, at), pair.slice(at + 1));
  }
  const [resource, signature, expiry] = [pairs.get('sr'), pairs.get('sig'), pairs.get('se')];
  if (resource === undefined || signature === undefined || expiry === undefined || !/^\d{1,12}$/.test(expiry)) {
    refuse('sr, sig and se were wanted in the shared access signature');
  }
  // Event Hubs' clients put their scheme before it.
  const [host = '', ...path] = decode(resource)
    .toLowerCase()
    .replace(/^[a-z]+:\/\//, '')
    .split('/');
  const policy = pairs.get('skn');
  return {
    rawResource: resource,
    host,
    path: path.filter((segment) => segment !== ''),
    signature: decode(signature),
    expiresMs: Number(expiry) * 1000,
    rawExpiry: expiry,
    policy: policy === undefined || policy === '' ? undefined : decode(policy),
  };
}

/**
 * Says whether one of the keys (base64) made the signature.
 * @param encoding how a key becomes bytes: IoT Hub decodes it, Event Hubs takes its characters. @default 'base64'
 */
export function isSignedWith(
  sas: Sas,
  keys: readonly (string | null)[],
  encoding: 'base64' | 'utf8' = 'base64',
): boolean {
  const given = Buffer.from(sas.signature, 'base64');
  return keys.some((key) => {
    if (key === null) return false;
    const hmac = createHmac('sha256', Buffer.from(key, encoding));
    const wanted = hmac.update(`${sas.rawResource}\n${sas.rawExpiry}`).digest();
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

/** Says whether the audience covers a path: it is that path, or its first segments. */
export function covers(sas: Sas, path: readonly string[]): boolean {
  // Old clients end the audience with /api-version=…; what follows the identity is tolerated.
  const audience = sas.path.filter((segment) => !segment.startsWith('api-version='));
  return audience.every((segment, index) => {
    const wanted = path[index]?.toLowerCase();
    // The runtime of IoT Edge encodes a module's id before it encodes the whole.
    return segment === wanted || (segment.includes('%') && decode(segment) === wanted);
  });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return refuse('its percent-encoding is damaged');
  }
}

function refuse(why: string): never {
  throw new HubError('IotHubUnauthorizedAccess', `Unauthorized: ${why}`);
}
