import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { type Arm, startArm } from '../arm/arm.ts';
import { openCertificates } from '../certificates.ts';
import { type Hub, startHub } from '../hub/hub.ts';
import type { StorageAccount } from '../hub/uploads.ts';
import { type Cluster, startCluster } from '../kubernetes/cluster.ts';
import { type Registry, startRegistry } from '../registry/registry.ts';
import { type Storage, startStorage } from './azurite.ts';
import { readKept, writeKept } from './kept.ts';
import { type WorldPart, worldParts } from './parts.ts';

/** Container that the IoT Hub puts uploaded files into; the name is Azure ML's. */
const container = 'modeldata';
/** What the hub is called where names are given without a host. */
const hubName = 'modelferry';

/** The settings of {@link startWorld}. */
export interface WorldOptions {
  /** Where its state is kept: certificates, devices, blobs, ports. */
  readonly folder: string;
  /** OCI image layout that the registry serves. */
  readonly layoutFolder: string;
  /** What is started. @default all parts */
  readonly only?: readonly WorldPart[] | undefined;
  /** How often the hub evaluates deployments, in milliseconds. @default at every change */
  readonly evaluateEveryMs?: number | undefined;
  /** What runs containers. @default Docker where it answers, else processes */
  readonly engine?: 'docker' | 'process' | undefined;
  readonly log: Logger;
}

/** Where the local world answers. Holds keys: it goes to the workspace's secrets, never to a log. */
export interface WorldEndpoints {
  /** `host:port` of the OCI registry (plain HTTP on loopback). */
  readonly registry?: string;
  readonly hub?: {
    readonly hostName: string;
    readonly connectionString: string;
    /** Of the built-in endpoint, for Event Hubs clients. */
    readonly eventHubConnectionString: string;
  };
  readonly arm?: {
    /** Of Resource Manager, and of the sign-in to it. */
    readonly endpoint: string;
    readonly tenantId: string;
    readonly subscriptionId: string;
    readonly resourceGroup: string;
    readonly clientId: string;
    readonly clientSecret: string;
  };
  readonly storage?: { readonly blobEndpoint: string; readonly container: string; readonly connectionString: string };
  readonly kubernetes?: {
    readonly server: string;
    /** File (0600) for `KUBECONFIG`. */
    readonly kubeconfigFile: string;
  };
  /** PEM file of the authority that all their certificates are signed by. */
  readonly caFile: string;
}

/** The local world: registry, IoT Hub, storage account and Resource Manager on loopback, with ports and keys that last over restarts. */
export interface World extends AsyncDisposable {
  readonly endpoints: WorldEndpoints;
}

/**
 * Starts the local world, or the parts of it that are wanted.
 * @throws {FerryError} PORT_IN_USE when a port that it had before is taken by another program
 */
export async function startWorld(options: WorldOptions): Promise<World> {
  const { folder, layoutFolder, only = worldParts, log } = options;
  await using parts = new AsyncDisposableStack();
  await mkdir(folder, { recursive: true });
  const kept = await readKept(folder);
  const certificates = await openCertificates(join(folder, 'certificates'));
  const start = async <T extends AsyncDisposable>(
    part: WorldPart,
    open: (port: number) => Promise<T>,
  ): Promise<T | undefined> =>
    only.includes(part) ? parts.use(await onPort(part, kept.ports[part], open)) : undefined;

  const registry = await start('registry', async (port) => {
    await mkdir(layoutFolder, { recursive: true });
    return await startRegistry({ layoutDir: layoutFolder, port, log });
  });
  const storage = await start('storage', (port) =>
    startStorage({ folder: join(folder, 'storage'), container, port, certificates, ...kept.storage }),
  );
  const { evaluateEveryMs } = options;
  const hub = await start('hub', (port) =>
    startHub({
      name: hubName,
      folder: join(folder, 'hub'),
      port,
      certificates,
      ...(evaluateEveryMs === undefined ? {} : { evaluateEveryMs }),
      ...(storage === undefined ? {} : { storage: accountOf(storage) }),
      log,
    }),
  );
  const kubernetes = await start('kubernetes', (port) =>
    startCluster({ folder: join(folder, 'kubernetes'), certificates, port, log }),
  );
  const arm = await start('arm', (port) =>
    startArm({
      folder: join(folder, 'arm'),
      port,
      certificates,
      accounts: {
        ...(storage === undefined ? {} : { storage }),
        ...(hub === undefined ? {} : { hub: { ...hub, name: hubName } }),
      },
      engine: options.engine ?? 'auto',
      ...(kubernetes === undefined ? {} : { kubeconfigFile: kubernetes.kubeconfigFile }),
      log,
    }),
  );
  // What is not started now keeps its port for when it is.
  await writeKept(folder, {
    ports: {
      registry: registry?.port ?? kept.ports.registry,
      storage: storage?.port ?? kept.ports.storage,
      hub: hub?.port ?? kept.ports.hub,
      arm: arm?.port ?? kept.ports.arm,
      kubernetes: kubernetes?.port ?? kept.ports.kubernetes,
    },
    storage: storage === undefined ? kept.storage : { accountKey: storage.accountKey },
  });
  const running = parts.move();
  return {
    endpoints: { ...endpointsOf({ registry, storage, hub, arm, kubernetes }), caFile: certificates.caFile },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function accountOf({ blobEndpoint, accountName, accountKey }: Storage): StorageAccount {
  return { blobHost: blobEndpoint.replace('https://', ''), accountName, accountKey, container };
}

function endpointsOf(of: {
  readonly registry: Registry | undefined;
  readonly storage: Storage | undefined;
  readonly hub: Hub | undefined;
  readonly arm: Arm | undefined;
  readonly kubernetes: Cluster | undefined;
}): Omit<WorldEndpoints, 'caFile'> {
  const { registry, storage, hub, arm, kubernetes } = of;
  return {
    ...(registry === undefined ? {} : { registry: registry.host }),
    ...(hub === undefined
      ? {}
      : {
          hub: {
            hostName: hub.hostName,
            connectionString: hub.connectionStrings.iothubowner,
            eventHubConnectionString: hub.eventHubConnectionString,
          },
        }),
    ...(arm === undefined
      ? {}
      : {
          arm: {
            endpoint: arm.endpoint,
            tenantId: arm.tenantId,
            subscriptionId: arm.subscriptionId,
            resourceGroup: arm.resourceGroup,
            clientId: arm.clientId,
            clientSecret: arm.clientSecret,
          },
        }),
    ...(kubernetes === undefined
      ? {}
      : { kubernetes: { server: kubernetes.server, kubeconfigFile: kubernetes.kubeconfigFile } }),
    ...(storage === undefined
      ? {}
      : {
          storage: { blobEndpoint: storage.blobEndpoint, container, connectionString: storage.connectionString },
        }),
  };
}

async function onPort<T>(part: WorldPart, port: number, start: (port: number) => Promise<T>): Promise<T> {
  try {
    return await start(port);
  } catch (cause) {
    if (systemCodeOf(cause) !== 'EADDRINUSE') throw cause;
    throw new FerryError('PORT_IN_USE', `Cannot start the ${part} on port ${port}: another program has it`, {
      cause,
      next: 'End that program. Deployed images and connection strings name the port, so it is not changed silently.',
    });
  }
}
