import { createRequire } from 'node:module';
import { mkdir } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { trustAlso } from '../../shared/tls-trust.ts';
import type { Certificates } from '../certificates.ts';

const require = createRequire(import.meta.url);

/** What of Azurite's blob server is used here: it runs inside of this process, so that it ends whenever this process does. */
interface BlobServer {
  start(): Promise<void>;
  close(): Promise<void>;
  getHttpServerAddress(): string;
}

interface BlobServerFactoryModule {
  readonly BlobServerFactory: new () => { createServer(environment: object): Promise<BlobServer> };
}

/** The settings of {@link startStorage}. */
export interface StorageOptions {
  /** Where blobs are kept. */
  readonly folder: string;
  /** Container that is there from the start. */
  readonly container: string;
  /** TCP port on loopback; 0 takes a free one. */
  readonly port: number;
  readonly certificates: Certificates;
  /** Base64 key of the account, kept by the caller over restarts. @default a new random one */
  readonly accountKey?: string | undefined;
}

/** A running storage account. */
export interface Storage extends AsyncDisposable {
  readonly port: number;
  readonly accountName: string;
  readonly accountKey: string;
  /** `https://localhost:PORT/ACCOUNT` */
  readonly blobEndpoint: string;
  readonly connectionString: string;
}

/** Name of the one account; Azurite puts it into the path of every URL. */
const accountName = 'modelferry';

/** Starts Azurite, Microsoft's storage emulator, as the storage account of the local world: blobs over HTTPS. */
export async function startStorage(options: StorageOptions): Promise<Storage> {
  const accountKey = options.accountKey ?? randomBytes(64).toString('base64');
  // Azurite takes its accounts from the environment only.
  process.env['AZURITE_ACCOUNTS'] = `${accountName}:${accountKey}`;
  await mkdir(options.folder, { recursive: true });
  const { BlobServerFactory } = require('azurite/dist/src/blob/BlobServerFactory.js') as BlobServerFactoryModule;
  const server = await new BlobServerFactory().createServer(environmentOf(options));
  await server.start();
  const port = Number(new URL(server.getHttpServerAddress()).port);
  const blobEndpoint = `https://localhost:${port}/${accountName}`;
  const connectionString =
    `DefaultEndpointsProtocol=https;AccountName=${accountName};AccountKey=${accountKey};` +
    `BlobEndpoint=${blobEndpoint};`;
  await makeContainer(connectionString, options);
  return {
    port,
    accountName,
    accountKey,
    blobEndpoint,
    connectionString,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** Makes the account's container where it is missing, as whoever sets an account up for an IoT Hub does. */
async function makeContainer(connectionString: string, { container, certificates }: StorageOptions): Promise<void> {
  trustAlso(certificates.caFile);
  const { BlobServiceClient } = await import('@azure/storage-blob');
  await BlobServiceClient.fromConnectionString(connectionString).getContainerClient(container).createIfNotExists();
}

/** What Azurite's command line would have said. */
function environmentOf({ folder, port, certificates }: StorageOptions): object {
  return {
    blobHost: () => '127.0.0.1',
    blobPort: () => port,
    blobKeepAliveTimeout: () => 5,
    location: async () => folder,
    silent: () => true,
    // Microsoft's device SDK sends headers that Azurite does not know.
    loose: () => true,
    skipApiVersionCheck: () => true,
    disableProductStyleUrl: () => true,
    cert: () => certificates.certFile,
    key: () => certificates.keyFile,
    pwd: () => undefined,
    oauth: () => undefined,
    debug: async () => undefined,
    inMemoryPersistence: () => false,
    extentMemoryLimit: () => undefined,
    disableTelemetry: () => true,
  };
}
