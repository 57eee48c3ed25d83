import type { Address } from '../identity/identity.ts';

/** What an MQTT client says of itself in its user name. */
export interface ParsedUsername {
  /** The hub's name as the client knows it, lower case. */
  readonly host: string;
  readonly address: Address;
  readonly apiVersion: string | undefined;
  /** The model that it implements (IoT Plug and Play), if it names one. */
  readonly modelId: string | undefined;
}

/**
 * Reads `{hub}/{device}[/{module}]/?api-version=…`, the old form without the question mark, and the bare `{hub}/{device}`.
 * @see https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub
 * @returns `undefined` when it is none of these
 */
export function parseUsername(username: string): ParsedUsername | undefined {
  // The query may hold slashes: what follows `/?` is never a segment.
  const at = username.indexOf('/?');
  const segments = (at === -1 ? username : username.slice(0, at)).split('/');
  let query = at === -1 ? '' : username.slice(at + 2);
  if (at === -1 && segments.at(-1)?.includes('api-version=') === true) query = segments.pop() ?? '';
  if (at === -1 && segments.at(-1) === '') segments.pop();
  const [host, deviceId, moduleId, ...more] = segments;
  if (host === undefined || host === '' || deviceId === undefined || deviceId === '') return undefined;
  if (more.length > 0 || moduleId === '') return undefined;
  const said = readQuery(query);
  const apiVersion = said.get('api-version');
  if (query !== '' && (apiVersion === undefined || apiVersion.trim() === '')) return undefined;
  return { host: host.toLowerCase(), address: { deviceId, moduleId }, apiVersion, modelId: said.get('model-id') };
}

/** Reads `a=b&c=d`, each pair split at its first `=`, the first of equal keys kept; damaged encodings stay as they are. */
export function readQuery(text: string): ReadonlyMap<string, string> {
  const pairs = new Map<string, string>();
  for (const pair of text.split('&')) {
    const at = pair.indexOf('=');
    const key = decode(at === -1 ? pair : pair.slice(0, at));
    if (key !== '' && !pairs.has(key)) pairs.set(key, at === -1 ? '' : decode(pair.slice(at + 1)));
  }
  return pairs;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
