import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { FerryError } from '../../shared/errors.ts';
import { proxiedAgent } from '../../shared/proxy.ts';
import { type DeviceIdentity, signWith } from './device-identity.ts';

/** One request about the modules of a device. */
export interface ModulesRequest {
  readonly method: 'GET' | 'PUT' | 'DELETE';
  /** Empty for all of them. */
  readonly moduleId: string;
  readonly body?: unknown;
  readonly ifMatch?: string;
  /** The time as the hub has it, in milliseconds. */
  readonly hubNowMs: number;
  readonly signal: AbortSignal;
}

/** What edgelet's own client asks with. */
const apiVersion = '2017-11-08-preview';
/** How long the hub may take to answer, in milliseconds. */
const answerTimeoutMs = 30_000;
/** How long a token is good, in seconds; it is used at once. */
const tokenSeconds = 300;

/**
 * Asks the hub as the device itself, by its key or its certificate, about its modules' identities; gives the answer's JSON.
 * @throws {FerryError} HUB_UNAUTHORIZED when the hub does not let the device in, HUB_REFUSED when it answers otherwise than with success
 */
export async function askHub(identity: DeviceIdentity, request: ModulesRequest): Promise<unknown> {
  const { device, certificate } = identity;
  const { hostname, port } = new URL(`https://${device.gatewayHostName ?? device.hostName}`);
  const what = request.moduleId === '' ? '' : `/${encodeURIComponent(request.moduleId)}`;
  const https = process.getBuiltinModule('node:https');
  const asking = https.request({
    host: hostname,
    port: port === '' ? 443 : port,
    method: request.method,
    path: `/devices/${encodeURIComponent(device.deviceId)}/modules${what}?api-version=${apiVersion}`,
    headers: {
      ...(device.sharedAccessKey === undefined
        ? {}
        : { authorization: tokenOf(device.hostName, device.deviceId, device.sharedAccessKey, request.hubNowMs) }),
      'content-type': 'application/json',
      ...(request.ifMatch === undefined ? {} : { 'if-match': request.ifMatch }),
    },
    agent: proxiedAgent(certificate),
    signal: AbortSignal.any([request.signal, AbortSignal.timeout(answerTimeoutMs)]),
  });
  asking.end(request.body === undefined ? undefined : JSON.stringify(request.body));
  const [answer] = (await once(asking, 'response')) as [IncomingMessage];
  const said = await text(answer);
  const { statusCode = 0 } = answer;
  if (statusCode < 300) return said === '' ? undefined : JSON.parse(said);
  const isStranger = statusCode === 401 || statusCode === 403;
  throw new FerryError(
    isStranger ? 'HUB_UNAUTHORIZED' : 'HUB_REFUSED',
    `Cannot ${request.method} module identities: the hub answers ${statusCode}`,
    { cause: new Error(said.slice(0, 300)) },
  );
}

/** @see https://learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas */
function tokenOf(hostName: string, deviceId: string, key: string, hubNowMs: number): string {
  const audience = encodeURIComponent(`${hostName}/devices/${deviceId}`.toLowerCase());
  const expiry = Math.ceil(hubNowMs / 1000) + tokenSeconds;
  const signature = encodeURIComponent(signWith(key, `${audience}\n${expiry}`));
  return `SharedAccessSignature sr=${audience}&sig=${signature}&se=${expiry}`;
}
