import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request as openRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { z } from 'zod';
import { trustAlso } from '../../../shared/tls-trust.ts';
import { openCertificates } from '../../../simulators/certificates.ts';
import type { StorageAccount } from '../../../simulators/hub/uploads.ts';
import type { StoredBlob } from '../../agent/collect/collect-rig.ts';
import { openAzurite } from '../../conformance/azurite-rig.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

/** A request that changes a blob. */
export interface StorageRequest {
  /** What is stored: a whole blob, a block of one, or the list of blocks that makes one. */
  readonly kind: 'blob' | 'block' | 'blocklist';
  /** How many requests of its kind came before. */
  readonly number: number;
}

/** What goes wrong with a request: a status in place of an answer, a connection that is cut before or behind storing, or nothing. */
export type StorageFault = number | 'cut-before' | 'cut-behind' | undefined;

/** Azurite behind a proxy that does to requests what a test says. */
export interface FaultyStorage extends AsyncDisposable {
  readonly account: StorageAccount;
  /** All requests that change a blob, in order. */
  readonly requests: StorageRequest[];
  /** Decides what goes wrong. */
  fault: (request: StorageRequest) => StorageFault;
}

/** Opens a storage that is Azurite's own in everything but the faults. */
export async function openFaultyStorage(): Promise<FaultyStorage> {
  await using cleanup = new AsyncDisposableStack();
  const azurite = cleanup.use(await openAzurite());
  const folder = cleanup.use(await temporaryFolder());
  const { caFile, certPem, keyPem } = await openCertificates(folder.path);
  for (const file of [azurite.caFile, caFile]) trustAlso(file);
  const [host = '', accountName = ''] = azurite.account.blobHost.split('/');
  const requests: StorageRequest[] = [];
  const server = createServer({ cert: certPem, key: keyPem }, (request, response) => {
    void pass(request, response, { host, storage, requests }).catch(() => request.socket.destroy());
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  cleanup.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const disposal = cleanup.move();
  const storage: FaultyStorage = {
    account: { ...azurite.account, blobHost: `localhost:${port}/${accountName}` },
    requests,
    fault: () => undefined,
    [Symbol.asyncDispose]: async () => await disposal.disposeAsync(),
  };
  return storage;
}

/** Gives the blobs that storage has. */
export async function storedBlobs({ account }: FaultyStorage): Promise<StoredBlob[]> {
  const credential = new StorageSharedKeyCredential(account.accountName, account.accountKey);
  const container = new BlobServiceClient(`https://${account.blobHost}`, credential).getContainerClient('modeldata');
  const stored: StoredBlob[] = [];
  for await (const { name, metadata } of container.listBlobsFlat({ includeMetadata: true })) {
    const text = (await container.getBlobClient(name).downloadToBuffer()).toString();
    stored.push({ name, text, metadata: { ...metadata } });
  }
  return stored;
}

async function pass(
  request: IncomingMessage,
  response: ServerResponse,
  of: { readonly host: string; readonly storage: FaultyStorage; readonly requests: StorageRequest[] },
): Promise<void> {
  const content = await buffer(request);
  const seen = requestOf(request, of.requests);
  if (seen !== undefined) of.requests.push(seen);
  const fault = seen === undefined ? undefined : of.storage.fault(seen);
  if (fault === 'cut-before') {
    request.socket.destroy();
    return;
  }
  if (typeof fault === 'number') {
    const body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>Fault</Code><Message>as the test says</Message></Error>`;
    response.writeHead(fault, { 'content-type': 'application/xml', 'x-ms-error-code': 'Fault' }).end(body);
    return;
  }
  const { method, url, headers } = request;
  const passed = openRequest(`https://${of.host}${url ?? ''}`, {
    method: method ?? 'GET',
    headers: { ...headers, host: of.host },
  });
  passed.end(content);
  const [answer] = (await once(passed, 'response')) as [IncomingMessage];
  const answered = await buffer(answer);
  if (fault === 'cut-behind') request.socket.destroy();
  else response.writeHead(answer.statusCode ?? 500, answer.headers).end(answered);
}

function requestOf(request: IncomingMessage, before: readonly StorageRequest[]): StorageRequest | undefined {
  const { searchParams } = new URL(request.url ?? '', 'https://storage');
  if (request.method !== 'PUT' || searchParams.get('restype') !== null) return undefined;
  const kind = z.enum(['blob', 'block', 'blocklist']).parse(searchParams.get('comp') ?? 'blob');
  const number = before.filter((one) => one.kind === kind).length;
  return { kind, number };
}
