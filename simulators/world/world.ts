import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { openCertificates } from '../certificates.ts';
import { startHub } from '../hub/hub.ts';
import { startRegistry } from '../registry/registry.ts';
import { startStorage } from './azurite.ts';
import { readKept, writeKept } from './kept.ts';

/** Container that the IoT Hub puts uploaded files into; the name is Azure ML's. */
const container = 'modeldata';

/** The settings of {@link startWorld}. */
export interface WorldOptions {
  /** Where its state is kept: certificates, devices, blobs, ports. */
  readonly folder: string;
  /** OCI image layout that the registry serves. */
  readonly layoutFolder: string;
  readonly log: Logger;
}

/** Where the local world answers. Holds keys: it goes to the workspace's secrets, never to a log. */
export interface WorldEndpoints {
  /** `host:port` of the OCI registry (plain HTTP on loopback). */
  readonly registry: string;
  readonly hub: { readonly hostName: string; readonly connectionString: string };
  readonly storage: { readonly blobEndpoint: string; readonly container: string; readonly connectionString: string };
  /** PEM file of the authority that the hub's and the storage's certificates are signed by. */
  readonly caFile: string;
}

/** The local world: registry, IoT Hub and storage account on loopback, with ports and keys that last over restarts. */
export interface World extends AsyncDisposable {
  readonly endpoints: WorldEndpoints;
}

/**
 * Starts the local world.
 * @throws {FerryError} PORT_IN_USE when a port that it had before is taken by another program
 */
export async function startWorld(options: WorldOptions): Promise<World> {
  const { folder, layoutFolder, log } = options;
  await using parts = new AsyncDisposableStack();
  await mkdir(folder, { recursive: true });
  await mkdir(layoutFolder, { recursive: true });
  const kept = await readKept(folder);
  const certificates = await openCertificates(join(folder, 'certificates'));

  const registry = parts.use(
    await onPort('registry', kept.ports.registry, (port) => startRegistry({ layoutDir: layoutFolder, port, log })),
  );
  const storage = parts.use(
    await onPort('storage', kept.ports.storage, (port) =>
      startStorage({ folder: join(folder, 'storage'), container, port, certificates, ...kept.storage }),
    ),
  );
  const hub = parts.use(
    await onPort('hub', kept.ports.hub, (port) =>
      startHub({
        folder: join(folder, 'hub'),
        port,
        certificates,
        storage: {
          blobHost: storage.blobEndpoint.replace('https://', ''),
          accountName: storage.accountName,
          accountKey: storage.accountKey,
          container,
        },
        log,
      }),
    ),
  );
  await writeKept(folder, {
    ports: { registry: registry.port, storage: storage.port, hub: hub.port },
    storage: { accountKey: storage.accountKey },
  });
  const running = parts.move();
  return {
    endpoints: {
      registry: registry.host,
      hub: { hostName: hub.hostName, connectionString: hub.connectionStrings.iothubowner },
      storage: { blobEndpoint: storage.blobEndpoint, container, connectionString: storage.connectionString },
      caFile: certificates.caFile,
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function onPort<T>(part: string, port: number, start: (port: number) => Promise<T>): Promise<T> {
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
