import https from 'node:https';
import { isIP } from 'node:net';
import iothub, { type Registry } from 'azure-iothub';
import { RestApiClient } from 'azure-iothub/dist/common-http/rest_api_client.js';
import type { ServiceConnectionString } from '../../shared/edge/connection-string.ts';

const userAgent = 'modelferry';
/** Seconds until a signature ends; the SDK prolongs it by an hour with every call. */
const signatureLifeSeconds = 3600;

/** What calls a hub's REST interface; disposing of it closes the connections. */
export interface HubTransport extends Disposable {
  readonly registry: Registry;
  readonly rest: RestApiClient;
}

/**
 * Makes the SDK's clients for a hub, without a call. The SDK takes a port in the host name literally and looks for a machine of
 * that name, so the connection's agent is what knows host and port; what is signed keeps the name as it is.
 */
export function openHubTransport({ hostName, ...key }: ServiceConnectionString): HubTransport {
  const { hostname, port } = new URL(`https://${hostName}`);
  const host = hostname.replace(/^\[|\]$/g, '');
  const pinned: https.AgentOptions = {
    keepAlive: true,
    // TLS takes names only; without one the host is what the certificate has to be for.
    ...(port === '' ? {} : { host, port: Number(port), servername: isIP(host) > 0 ? '' : host }),
  };
  const agent = new https.Agent(pinned);
  const expiry = Math.ceil(Date.now() / 1000) + signatureLifeSeconds;
  const config = {
    host: hostName,
    sharedAccessSignature: iothub.SharedAccessSignature.create(
      hostName,
      key.sharedAccessKeyName,
      key.sharedAccessKey,
      expiry,
    ),
  };
  const rest = new PinnedRestApiClient(config, agent);
  return { rest, registry: new iothub.Registry(config, rest), [Symbol.dispose]: () => agent.destroy() };
}

/** A REST client that keeps its agent: the constructors of the SDK's other clients would put their own in its place. */
class PinnedRestApiClient extends RestApiClient {
  constructor(config: RestApiClient.TransportConfig, agent: https.Agent) {
    super(config, userAgent);
    super.setOptions({ http: { agent } });
  }

  override setOptions(): void {
    // Kept as constructed.
  }
}
