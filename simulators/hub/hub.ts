import { X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { type Logger, createLogger } from '../../shared/log.ts';
import type { Certificates } from '../certificates.ts';
import { Access } from './identity/access.ts';
import { addressKey } from './identity/identity.ts';
import { type PolicyName, openPolicies } from './identity/policies.ts';
import { AmqpGateway } from './amqp/gateway.ts';
import type { StoredEvent } from './events.ts';
import type { Faults } from './faults.ts';
import { feedbackOf } from './feedback.ts';
import { type Listener, listen, listenPlain } from './listener.ts';
import type { Message } from './message.ts';
import { MqttGateway } from './mqtt/gateway.ts';
import { type Parts, assemble } from './parts.ts';
import { bulkRoutes } from './rest/bulk.ts';
import { configurationRoutes } from './rest/configurations.ts';
import { controlRoutes } from './rest/control.ts';
import { deviceSideRoutes } from './rest/device-side.ts';
import { deviceRoutes } from './rest/devices.ts';
import { digitalTwinRoutes } from './rest/digital-twins.ts';
import { importExportRoutes } from './rest/import-export.ts';
import type { Route } from './rest/route.ts';
import { jobRoutes } from './rest/jobs.ts';
import { openRestServer } from './rest/server.ts';
import { twinRoutes } from './rest/twins.ts';
import { Store } from './store.ts';
import { serveWebSocket } from './websocket.ts';
import type { FileNotification, StorageAccount } from './uploads.ts';

/** The settings of {@link startHub}. */
export interface HubOptions {
  /** What the hub is called: it answers to `<name>.azure-devices.net` too. @default 'modelferry' */
  readonly name?: string;
  /** Where its state is kept; without one it is in memory and gone at the end. */
  readonly folder?: string;
  /** The address that it listens on. @default '127.0.0.1' */
  readonly host?: string;
  /** @default 0, any free port */
  readonly port?: number;
  /** A port for AMQP without TLS, for Event Hubs clients that cannot be given a CA. 0 is any free port. @default none */
  readonly plainAmqpPort?: number;
  /** More TLS ports, each serving all: the standard ones for clients that take no other. @default none */
  readonly morePorts?: readonly number[];
  readonly certificates: Certificates;
  /** Where devices upload files to; without one uploads are refused as by a hub that has no storage configured. */
  readonly storage?: StorageAccount;
  /** The CAs (PEM) whose certificates devices of type `certificateAuthority` may show. @default none */
  readonly deviceCaPem?: string;
  /** How often deployments are evaluated, in milliseconds; the real hub does every five minutes. @default at every change */
  readonly evaluateEveryMs?: number;
  /** Units of tier S1 whose throttles hold. @default no throttles */
  readonly s1Units?: number;
  readonly clock?: Clock;
  readonly log?: Logger;
}

/** A running hub. */
export interface Hub extends AsyncDisposable {
  /** How clients name it: `localhost:PORT`. */
  readonly hostName: string;
  readonly port: number;
  /** PEM file of the CA that clients have to trust. */
  readonly caFile: string;
  /** The service connection string of each shared access policy. */
  readonly connectionStrings: Readonly<Record<PolicyName, string>>;
  /** The connection string of the built-in endpoint for Event Hubs clients: over TLS, or on `plainAmqpPort` where there is one. */
  readonly eventHubConnectionString: string;
  /** Gives the connection string of a device. @throws {HubError} DeviceNotFound */
  deviceConnectionString(deviceId: string): string;
  /** Gives what devices have sent and the built-in endpoint still holds, oldest first. */
  readEvents(): readonly StoredEvent[];
  /** Calls back for every file that a device has uploaded. */
  onFileUploaded(listener: (notification: FileNotification) => void): void;
  /** Puts a message into a device's queue. @throws {HubError} DeviceNotFound, DeviceMaximumQueueDepthExceeded */
  sendCommand(deviceId: string, message: Message): void;
  /** Says whether a device (or `device/module`) is connected. */
  isConnected(client: string): boolean;
  /** What can be made to go wrong. */
  readonly faults: Pick<Faults, 'settings' | 'change' | 'clear'>;
  /** Says how often a device (or `device/module`) has connected since the start. */
  connectCount(client: string): number;
  /** Waits until every deployment has reached the twins that it is for. */
  settled(): Promise<void>;
  /** What it consists of, for who runs it in the same process. */
  readonly parts: Parts;
  close(): Promise<void>;
}

/** How often silent, expired and overdue things are looked for. */
const sweepEveryMs = 1000;

/** Starts an IoT Hub that Microsoft's SDKs take for the real one. @throws {FerryError} PORT_IN_USE, PORT_UNUSABLE */
export async function startHub(options: HubOptions): Promise<Hub> {
  const { log = createLogger('hub', { level: 'silent' }), folder, host = '127.0.0.1' } = options;
  if (folder !== undefined) await mkdir(folder, { recursive: true, mode: 0o700 });
  const store = new Store(folder === undefined ? undefined : join(folder, 'hub.db'));
  await using cleanup = new AsyncDisposableStack();
  cleanup.use(store);
  const parts = assemble({ ...options, store, clock: options.clock ?? systemClock, log });
  const { clock } = parts.faults;
  const name = options.name ?? 'modelferry';
  const isHubHost = hubHosts(name, host);
  const policies = openPolicies(store);
  const authorities = readAuthorities(options.deviceCaPem ?? '');
  const rules = { registry: parts.registry, policies, isHubHost, authorities };
  const access = new Access({ ...rules, clock });
  const controlAccess = new Access({ ...rules, clock: options.clock ?? systemClock });
  const gateway = new MqttGateway({ services: parts, access, clock, log, isHubHost });
  const amqp = new AmqpGateway({ parts, access, log, name });
  connectParts(parts, gateway);
  const rest = cleanup.use(
    await openRestServer({ routes: routesOf(parts, gateway), access, controlAccess, clock, log, faults: parts.faults }),
  );
  serveWebSocket({ server: rest.server, mqtt: gateway, amqp });
  const endpoint = { host, certificates: options.certificates, protocols: { mqtt: gateway, amqp, http: rest.server } };
  const listener: Listener = cleanup.use(await listen({ ...endpoint, port: options.port ?? 0 }));
  for (const port of options.morePorts ?? []) cleanup.use(await listen({ ...endpoint, port }));
  const plain =
    options.plainAmqpPort === undefined
      ? undefined
      : cleanup.use(await listenPlain({ host, port: options.plainAmqpPort, accept: (socket) => amqp.accept(socket) }));
  const running = new AbortController();
  cleanup.defer(() => {
    running.abort();
    parts.jobs.stop();
    parts.importExport.stop();
  });
  repeat({ clock, everyMs: sweepEveryMs, signal: running.signal }, () => {
    gateway.sweep();
    amqp.sweep(clock.nowMs());
    parts.commands.sweep();
  });
  evaluateWhen(parts, { clock, everyMs: options.evaluateEveryMs, signal: running.signal });
  const hostName = `localhost:${listener.port}`;
  const disposal = cleanup.move();
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= disposal.disposeAsync());
  return {
    hostName,
    port: listener.port,
    caFile: options.certificates.caFile,
    connectionStrings: Object.fromEntries(
      [...policies.values()].map(({ name, primaryKey }) => [
        name,
        `HostName=${hostName};SharedAccessKeyName=${name};SharedAccessKey=${primaryKey}`,
      ]),
    ) as Record<PolicyName, string>,
    eventHubConnectionString:
      `Endpoint=sb://localhost:${plain?.port ?? listener.port}/;SharedAccessKeyName=service;` +
      `SharedAccessKey=${policies.get('service')?.primaryKey ?? ''};EntityPath=${name}` +
      (plain === undefined ? '' : ';UseDevelopmentEmulator=true'),
    deviceConnectionString: (deviceId) => deviceConnectionString(parts, { hostName, deviceId }),
    parts,
    readEvents: () => parts.events.readAll(),
    onFileUploaded: (listener) => parts.uploads.events.on('notification', listener),
    sendCommand: (deviceId, message) => {
      parts.registry.device(deviceId);
      parts.commands.enqueue(deviceId, message);
    },
    isConnected: (client) => gateway.isConnected(client),
    faults: parts.faults,
    connectCount: (client) => gateway.connectCounts.get(client) ?? 0,
    settled: () => parts.evaluator.settled(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

function readAuthorities(pem: string): readonly X509Certificate[] {
  const certificates = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return certificates.map((text) => new X509Certificate(text));
}

/** Says which host names are this hub's, in user names and tokens: any port, any case. */
function hubHosts(name: string, address: string): (host: string) => boolean {
  const names = new Set(
    ['localhost', '127.0.0.1', '[::1]', address, hostname(), `${name}.azure-devices.net`].map((host) =>
      host.toLowerCase(),
    ),
  );
  return (host) => names.has(host.toLowerCase().replace(/:\d+$/, ''));
}

function deviceConnectionString(
  { registry }: Parts,
  { hostName, deviceId }: { readonly hostName: string; readonly deviceId: string },
): string {
  const { authentication } = registry.device(deviceId).identity;
  const prefix = `HostName=${hostName};DeviceId=${deviceId}`;
  return authentication.type === 'sas'
    ? `${prefix};SharedAccessKey=${authentication.symmetricKey.primaryKey ?? ''}`
    : `${prefix};x509=true`;
}

function routesOf(parts: Parts, gateway: MqttGateway): readonly Route[] {
  return [
    ...deviceRoutes(parts.sources),
    ...bulkRoutes({ ...parts, clock: parts.faults.clock }),
    ...twinRoutes({ ...parts, jobRows: () => parts.jobs.deviceRows() }),
    ...digitalTwinRoutes(parts),
    ...configurationRoutes(parts),
    ...jobRoutes(parts.jobs),
    ...importExportRoutes(parts.importExport),
    ...deviceSideRoutes(parts),
    ...controlRoutes({
      ...parts,
      drop: (address) => gateway.drop(address),
      expireTokens: (deviceId) => gateway.expireTokens(deviceId),
      dropAll: () => gateway.dropAll(),
    }),
  ];
}

/** Carries what happens in one part to those that have to know. */
function connectParts(parts: Parts, gateway: MqttGateway): void {
  const { registry, twins, commands, sessions, presence, uploads, notices } = parts;
  twins.events.on('desired', (address, patch, version) => gateway.connectionOf(address)?.sendDesired(patch, version));
  commands.events.on('waiting', (deviceId) => gateway.connectionOf({ deviceId })?.sendCommands());
  commands.events.on('ended', (command, outcome) => {
    const record = feedbackOf(command, { outcome, nowMs: parts.faults.clock.nowMs(), registry });
    if (record !== undefined) notices.add('feedback', [record]);
  });
  uploads.events.on('notification', (notification) => notices.add('filenotifications', notification));
  registry.events.on('credentials', (address) => gateway.drop(address));
  registry.events.on('removed', (address) => {
    gateway.drop(address);
    sessions.forget(addressKey(address));
    presence.forget(address);
    if (address.moduleId !== undefined) return;
    commands.forget(address.deviceId);
    uploads.forgetDevice(address.deviceId);
  });
}

/** Evaluates deployments: at each change of what they depend on, or every so often. */
function evaluateWhen(
  parts: Parts,
  when: { readonly clock: Clock; readonly everyMs: number | undefined; readonly signal: AbortSignal },
): void {
  const { registry, twins, configurations, evaluator } = parts;
  const { everyMs } = when;
  if (everyMs !== undefined) {
    configurations.countSeldom();
    repeat({ ...when, everyMs }, async () => {
      evaluator.markAll();
      await evaluator.settled();
      configurations.count();
    });
    return;
  }
  registry.events.on('changed', (deviceId) => evaluator.mark(deviceId));
  twins.events.on('changed', (deviceId) => evaluator.mark(deviceId));
  configurations.events.on('changed', () => evaluator.markAll());
}

/** Does something again and again until the signal ends it. */
function repeat(
  every: { readonly clock: Clock; readonly everyMs: number; readonly signal: AbortSignal },
  work: () => void | Promise<void>,
): void {
  const { clock, everyMs, signal } = every;
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal);
      await work();
    }
  };
  loop().catch((error: unknown) => {
    // The end of the sleep by the signal is how this ends.
    if (!signal.aborted) throw error;
  });
}
