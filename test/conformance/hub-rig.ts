import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as DeviceClient, ModuleClient } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { JobClient, Registry, Client as ServiceClient, SharedAccessSignature } from 'azure-iothub';
import { Amqp } from 'azure-iothub/dist/amqp.js';
import { RestApiClient } from 'azure-iothub/dist/common-http/rest_api_client.js';
import { trustAlso } from '../../shared/tls-trust.ts';
import { type Certificates, openCertificates } from '../../simulators/certificates.ts';
import { type Hub, type HubOptions, startHub } from '../../simulators/hub/hub.ts';
import type { PolicyName } from '../../simulators/hub/identity/policies.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** A hub with the vendor's own clients to it. */
export interface HubRig extends AsyncDisposable {
  readonly hub: Hub;
  readonly certificates: Certificates;
  readonly registry: Registry;
  readonly service: ServiceClient;
  readonly jobs: JobClient;
  /** Makes an agent that leads every HTTPS request to the hub. */
  readonly agent: https.Agent;
  /** Registers a device and opens the SDK's client of it. */
  device(deviceId: string): Promise<DeviceClient>;
  /** Registers a module on a device that is there, and opens the SDK's client of it. */
  module(deviceId: string, moduleId: string): Promise<ModuleClient>;
  /** Opens the SDK's client of a system module, with its device's key. */
  systemModule(deviceId: string, moduleId: string): Promise<ModuleClient>;
  /** Makes the SDK's service client with the token of a policy. */
  serviceClient(policy: PolicyName): ServiceClient;
  /** Makes a service token of a policy. */
  sign(policy: PolicyName): string;
  /** Calls the REST interface as the owner. */
  rest(method: string, path: string, options?: RestOptions): Promise<RestAnswer>;
}

/** The settings of a plain REST call. */
export interface RestOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a plain REST call gave. */
export interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: any; // oxlint-disable-line typescript/no-explicit-any -- tests look into answers of any shape
}

/** Starts a hub on a free port, and the vendor's clients of it. */
export async function openHubRig(options: Omit<HubOptions, 'certificates'> = {}): Promise<HubRig> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const certificates = await openCertificates(folder.path);
  trustAlso(certificates.caFile);
  const hub = cleanup.use(await startHub({ ...options, certificates }));
  const agent = agentOf(hub);
  cleanup.defer(() => agent.destroy());
  const signature = (policy: PolicyName = 'iothubowner') => {
    const { key, name } = policyOf(hub.connectionStrings[policy]);
    return SharedAccessSignature.create(hub.hostName, name, key, Math.ceil(Date.now() / 1000) + 3600);
  };
  const config = () => ({ host: hub.hostName, sharedAccessSignature: signature() }) as never;
  const rest = () => new PinnedRestApiClient(config(), agent);
  const opened: (DeviceClient | ModuleClient)[] = [];
  cleanup.defer(async () => {
    // The SDK's close() of a client that is reconnecting may never come back.
    const closed = Promise.all(opened.map(async (client) => await client.close().catch(() => undefined)));
    await Promise.race([closed, sleep(1000, undefined, { ref: false })]);
  });
  const registry = new Registry(config(), rest());
  const service = new ServiceClient(new Amqp(config()), rest());
  const disposal = cleanup.move();
  return {
    hub,
    certificates,
    agent,
    registry,
    service,
    jobs: new JobClient(rest()),
    device: async (deviceId) => {
      await registry.create({ deviceId });
      const client = DeviceClient.fromConnectionString(hub.deviceConnectionString(deviceId), Mqtt);
      opened.push(client);
      await client.open();
      return client;
    },
    module: async (deviceId, moduleId) => {
      await registry.addModule({ deviceId, moduleId });
      const { responseBody } = await registry.getModule(deviceId, moduleId);
      const key = responseBody.authentication?.symmetricKey?.primaryKey ?? '';
      const text = `HostName=${hub.hostName};DeviceId=${deviceId};ModuleId=${moduleId};SharedAccessKey=${key}`;
      const client = ModuleClient.fromConnectionString(text, Mqtt);
      opened.push(client);
      await client.open();
      return client;
    },
    systemModule: async (deviceId, moduleId) => {
      const text = hub
        .deviceConnectionString(deviceId)
        .replace(';SharedAccessKey', `;ModuleId=${moduleId};SharedAccessKey`);
      const client = ModuleClient.fromConnectionString(text, Mqtt);
      opened.push(client);
      await client.open();
      return client;
    },
    serviceClient: (policy) => {
      const own = { host: hub.hostName, sharedAccessSignature: signature(policy) } as never;
      return new ServiceClient(new Amqp(own), new PinnedRestApiClient(own, agent));
    },
    sign: (policy) => signature(policy).toString(),
    rest: async (method, path, call) => {
      const authorization = signature().toString();
      return await request(agent, { method, path, ...call, headers: { authorization, ...call?.headers } });
    },
    [Symbol.asyncDispose]: async () => await disposal.disposeAsync(),
  };
}

/** Makes an HTTPS agent that leads every request to the hub, whatever host it names. */
export function agentOf(hub: Hub): https.Agent {
  const pinned = { keepAlive: true, host: '127.0.0.1', port: hub.port, servername: 'localhost' };
  return new https.Agent(pinned);
}

/** The vendor's REST client; its agent stays, where `Registry` and the others would put their own in its place. */
class PinnedRestApiClient extends RestApiClient {
  constructor(config: RestApiClient.TransportConfig, agent: https.Agent) {
    super(config, 'conformance/1.0');
    super.setOptions({ http: { agent } });
  }

  override setOptions(): void {}
}

/** Reads name and key out of a service connection string. */
export function policyOf(connectionString: string): { readonly name: string; readonly key: string } {
  const [, name = '', key = ''] = /SharedAccessKeyName=([^;]+);SharedAccessKey=(.+)$/.exec(connectionString) ?? [];
  return { name, key };
}

/** Makes one HTTPS request. */
export async function request(
  agent: https.Agent,
  call: RestOptions & { readonly method: string; readonly path: string },
): Promise<RestAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<RestAnswer>();
  const body = typeof call.body === 'string' || call.body === undefined ? call.body : JSON.stringify(call.body);
  const headers = { 'content-type': 'application/json', ...call.headers };
  const sent = https.request({ agent, method: call.method, path: call.path, headers }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('error', reject);
    response.on('end', () => {
      const text = Buffer.concat(chunks).toString('utf8');
      const isJson = response.headers['content-type']?.startsWith('application/json') === true;
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: isJson ? JSON.parse(text) : text });
    });
  });
  sent.on('error', reject);
  sent.end(body);
  return await promise;
}
