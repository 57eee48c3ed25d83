import { FerryError } from '../errors.ts';

/** What a device or one of its modules needs to sign in to its IoT Hub. */
export interface DeviceConnectionString {
  /** Host of the hub, with its port where that is not the standard one: `factory.azure-devices.net`, `localhost:18883`. */
  readonly hostName: string;
  readonly deviceId: string;
  readonly moduleId?: string;
  /** Base64 of the device's symmetric key; a secret. Absent where it signs in with a certificate. */
  readonly sharedAccessKey?: string;
  /** Host that is dialled instead of `hostName`, with its port if any. */
  readonly gatewayHostName?: string;
}

/** What a back end needs to call its IoT Hub under one of the hub's policies. */
export interface ServiceConnectionString {
  /** Host of the hub, with its port where that is not the standard one. */
  readonly hostName: string;
  /** Name of the policy: `iothubowner`, `service`, … */
  readonly sharedAccessKeyName: string;
  /** Base64 of the policy's key; a secret. */
  readonly sharedAccessKey: string;
}

/**
 * Reads the connection string of a device or module, as the hub's portal and `az iot hub device-identity
 * connection-string show` give it. White space around it is ignored.
 * @throws {FerryError} CONNECTION_STRING_INVALID naming everything that is wrong, without the key
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas
 */
export function parseDeviceConnectionString(text: string): DeviceConnectionString {
  const fields = fieldsOf(text, 'device', ['HostName', 'DeviceId', 'SharedAccessKey']);
  const [moduleId, gatewayHostName] = [fields.get('ModuleId'), fields.get('GatewayHostName')];
  const sharedAccessKey = fields.get('SharedAccessKey');
  return {
    hostName: fields.get('HostName') ?? '',
    deviceId: fields.get('DeviceId') ?? '',
    ...(sharedAccessKey === undefined ? {} : { sharedAccessKey }),
    ...(moduleId === undefined ? {} : { moduleId }),
    ...(gatewayHostName === undefined ? {} : { gatewayHostName }),
  };
}

/**
 * Reads the connection string of one of a hub's policies. White space around it is ignored.
 * @throws {FerryError} CONNECTION_STRING_INVALID naming everything that is wrong, without the key
 */
export function parseServiceConnectionString(text: string): ServiceConnectionString {
  const fields = fieldsOf(text, 'hub', ['HostName', 'SharedAccessKeyName', 'SharedAccessKey']);
  return {
    hostName: fields.get('HostName') ?? '',
    sharedAccessKeyName: fields.get('SharedAccessKeyName') ?? '',
    sharedAccessKey: fields.get('SharedAccessKey') ?? '',
  };
}

/** Writes a device's or module's connection string in the order that Azure writes it. The result holds the key. */
export function formatDeviceConnectionString(parts: DeviceConnectionString): string {
  const fields: [string, string | undefined][] = [
    ['HostName', parts.hostName],
    ['DeviceId', parts.deviceId],
    ['ModuleId', parts.moduleId],
    ['SharedAccessKey', parts.sharedAccessKey],
    ['x509', parts.sharedAccessKey === undefined ? 'true' : undefined],
    ['GatewayHostName', parts.gatewayHostName],
  ];
  return fields
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`)
    .join(';');
}

const knownFields = [
  'HostName',
  'DeviceId',
  'ModuleId',
  'SharedAccessKeyName',
  'SharedAccessKey',
  'GatewayHostName',
  'x509',
];

/** Splits the text into its fields, by their proper names, and checks those that are wanted. */
function fieldsOf(text: string, whose: 'device' | 'hub', wanted: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>();
  const problems: string[] = [];
  for (const [index, part] of text.trim().split(';').entries()) {
    if (part === '') continue;
    const at = part.indexOf('=');
    const given = part.slice(0, Math.max(at, 0));
    const name = knownFields.find((known) => known.toLowerCase() === given.trim().toLowerCase()) ?? given;
    // A part without a name may be a key that was cut apart, so only its place is told.
    if (at < 1) problems.push(`part ${index + 1} is not "Name=value"`);
    else if (fields.has(name)) problems.push(`"${name}" is given twice`);
    else fields.set(name, part.slice(at + 1).trim());
  }
  const hasCertificate = whose === 'device' && fields.get('x509')?.toLowerCase() === 'true';
  if (hasCertificate && fields.has('SharedAccessKey')) problems.push('it has both "SharedAccessKey" and "x509=true"');
  for (const name of wanted) {
    if (fields.get(name) || (hasCertificate && name === 'SharedAccessKey')) continue;
    problems.push(`"${name}" is missing`);
  }
  const key = fields.get('SharedAccessKey');
  if (key && !isBase64(key)) problems.push('"SharedAccessKey" is not base64');
  if (problems.length === 0) return fields;
  throw new FerryError(
    'CONNECTION_STRING_INVALID',
    `Cannot read the connection string of the ${whose}: ${problems.join(', ')}; ` +
      `"${wanted.map((name) => `${name}=…`).join(';')}" was wanted`,
  );
}

function isBase64(text: string): boolean {
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text);
}
