import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createHash, randomUUID } from 'node:crypto';
import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { DataContainer } from '../../../cloud/azure/data-container.ts';
import { Workspace } from '../../../cloud/workspace/workspace.ts';
import { until } from '../../until.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

/** Azurite's published account; no secret. */
const account = 'devstoreaccount1';
const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** Azure ML's columns behind the features, of the later set. */
const trailingColumns = [
  '$aml_dc_correlation_id',
  '$aml_dc_scoring_timestamp',
  '$aml_dc_boundary',
  '$aml_workspace',
  '$aml_service_name',
  '$aml_model_name',
  '$aml_model_version',
  '$aml_request_id',
];

/** A storage account that runs for a test. */
export interface Azurite extends AsyncDisposable {
  readonly connectionString: string;
  readonly blobEndpoint: string;
  /** Makes an empty container. */
  newContainer(): Promise<ContainerClient>;
  /** Makes a workspace `lab` whose storage is an empty container. */
  newWorkspace(): Promise<DataWorkspace>;
}

/** A workspace with its storage, in a folder of its own that is deleted with it. */
export interface DataWorkspace extends AsyncDisposable {
  readonly folder: string;
  readonly workspace: Workspace;
  /** The container as a test fills it, and as the workspace sees it. */
  readonly blobs: ContainerClient;
  readonly container: DataContainer;
}

/**
 * Starts Azurite's blob service on a free port.
 * @param tls takes HTTPS, and tokens of Microsoft Entra, whose signatures nobody looks at; this process has to trust the CA
 */
export async function startAzurite(tls?: { readonly certFile: string; readonly keyFile: string }): Promise<Azurite> {
  const port = await freePort();
  const folder = await temporaryFolder();
  const main = new URL('../../../node_modules/azurite/dist/src/blob/main.js', import.meta.url).pathname;
  const place = ['--blobHost', '127.0.0.1', '--blobPort', String(port)];
  const flags = ['--inMemoryPersistence', '--loose', '--skipApiVersionCheck', '--silent', '--disableTelemetry'];
  const secure = tls === undefined ? [] : ['--cert', tls.certFile, '--key', tls.keyFile, '--oauth', 'basic'];
  const child = spawn(process.execPath, [main, ...place, ...flags, ...secure], { cwd: folder.path, stdio: 'ignore' });
  const blobEndpoint = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/${account}`;
  const connectionString = connectionStringOf(blobEndpoint);
  const service = BlobServiceClient.fromConnectionString(connectionString, { retryOptions: { maxTries: 1 } });
  await until(() => service.getProperties(), { timeoutMs: 15_000, what: 'Azurite' });
  const newContainer = async (): Promise<ContainerClient> => {
    const container = service.getContainerClient(`modeldata-${randomUUID()}`);
    await container.create();
    return container;
  };
  return {
    connectionString,
    blobEndpoint,
    newContainer,
    async newWorkspace() {
      await using stack = new AsyncDisposableStack();
      const { path } = stack.use(await temporaryFolder());
      const workspace = stack.use(await Workspace.create(path, { name: 'lab' }));
      const blobs = await newContainer();
      const storage = { blobEndpoint, container: blobs.containerName };
      await workspace.setEndpoints({ storage }, { storageConnectionString: connectionString });
      const container = await DataContainer.open(workspace);
      const keep = stack.move();
      return { folder: path, workspace, blobs, container, [Symbol.asyncDispose]: () => keep.disposeAsync() };
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Writes a connection string for an endpoint, with the published key or another one. */
export function connectionStringOf(blobEndpoint: string, accountKey = key): string {
  return `DefaultEndpointsProtocol=http;AccountName=${account};AccountKey=${accountKey};BlobEndpoint=${blobEndpoint}`;
}

/** Rows of one request for {@link uploadRows}. */
export interface RequestRows {
  readonly correlationId: string;
  readonly requestId: string;
  /** Values by row. */
  readonly rows: readonly (readonly (string | number)[])[];
}

/** A blob as a device's collector would upload it. */
export interface CollectorBlob {
  /** Blob path up to the designation: `gw-1/<scope>/digits/digits/1`. */
  readonly folder: string;
  readonly designation: string;
  /** @default '2026/11/22' */
  readonly date?: string;
  readonly bufferId: string;
  readonly firstSeq: number;
  readonly features: readonly string[];
  readonly requests: readonly RequestRows[];
  /** Metadata in place of what is true. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Uploads rows as the collector on a device writes them, and gives the blob's name. */
export async function uploadRows(container: ContainerClient, blob: CollectorBlob): Promise<string> {
  const header = [...blob.features, ...trailingColumns];
  const lines = blob.requests.flatMap(({ correlationId, requestId, rows }) =>
    rows.map((values) =>
      [
        ...values,
        correlationId,
        '2026-11-22T10:00:00.000000+00:00',
        1440,
        'sub/rg/ws',
        'digits',
        'digits',
        1,
        requestId,
      ].join(','),
    ),
  );
  const content = [header.join(','), ...lines, ''].join('\n');
  const lastSeq = blob.firstSeq + lines.length - 1;
  const name = `${blob.folder}/${blob.designation}/${blob.date ?? '2026/11/22'}/${blob.designation}-${blob.bufferId}-${blob.firstSeq}-${lastSeq}.csv`;
  const metadata = {
    rows: String(lines.length),
    firstseq: String(blob.firstSeq),
    lastseq: String(lastSeq),
    bufferid: blob.bufferId,
    sha256: createHash('sha256').update(content).digest('hex'),
    ...blob.metadata,
  };
  await container.getBlockBlobClient(name).upload(content, Buffer.byteLength(content), { metadata });
  return name;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('No port was given');
  return address.port;
}
