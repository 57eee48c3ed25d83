import type { Agent } from 'node:https';
import type { Client } from 'azure-iot-device';
import { z } from 'zod';
import { withDeadline } from '../../shared/deadline.ts';
import { type DeviceConnectionString, formatDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { FerryError, isFerryError } from '../../shared/errors.ts';
import { proxiedAgent } from '../../shared/proxy.ts';
import { storeBlob, storeOptions } from '../collect/store-blob.ts';
import type { UploadDestination } from '../collect/upload-destination.ts';
import type { DeviceCertificate } from './device-identity.ts';
import { loadDeviceSdk } from './device-sdk.ts';

type Blob = Parameters<UploadDestination['upload']>[0];

/** Where the hub says that a blob is to be stored. */
const placeSchema = z.object({
  correlationId: z.string().min(1),
  hostName: z.string().min(1),
  containerName: z.string().min(1),
  blobName: z.string().min(1),
  sasToken: z.string(),
});

/** How long the hub may take to answer, in milliseconds. */
const hubTimeoutMs = 30_000;

/**
 * Sends blobs to the storage account behind an IoT Hub: asks the hub for a signed address, stores the blob there, tells the hub how it
 * went. Needs no connection to the hub, only requests.
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-file-upload
 */
export class HubFileUpload implements UploadDestination {
  readonly #device: DeviceConnectionString;
  readonly #certificate: DeviceCertificate | undefined;
  #client: Client | undefined;

  /** @param certificate what the device signs in with where it has no key */
  constructor(device: DeviceConnectionString, certificate?: DeviceCertificate) {
    this.#device = device;
    this.#certificate = certificate;
  }

  /**
   * Stores a blob, over one of the same name. The hub puts `<device id>/` before the name. A signature that expires meanwhile is
   * replaced once, and the upload goes on where it was.
   * @throws {FerryError} HUB_UNREACHABLE, HUB_REFUSED when the hub gives no address
   * @throws {FerryError} STORAGE_UNREACHABLE, STORAGE_DENIED, STORAGE_REFUSED when the storage does not take it; the hub is told so
   */
  async upload(blob: Blob, signal: AbortSignal): Promise<void> {
    const failure = await this.#tryUpload(blob, signal);
    if (failure === undefined) return;
    if (failure.code !== 'STORAGE_DENIED') throw failure;
    const again = await this.#tryUpload(blob, signal);
    if (again !== undefined) throw again;
  }

  /** @returns what the storage has against it */
  async #tryUpload(blob: Blob, signal: AbortSignal): Promise<FerryError | undefined> {
    const client = await this.#open();
    const { correlationId, hostName, containerName, blobName, sasToken } = await this.#ask(
      `ask the hub where to store "${blob.name}"`,
      signal,
      async () => placeSchema.parse(await client.getBlobSharedAccessSignature(blob.name)),
    );
    const address = `https://${hostName}/${containerName}/${blobName.split('/').map(encodeURIComponent).join('/')}`;
    try {
      const { AnonymousCredential, BlockBlobClient } = await import('@azure/storage-blob');
      const place = new BlockBlobClient(`${address}${sasToken}`, new AnonymousCredential(), storeOptions);
      await storeBlob(place, blob, signal);
    } catch (error) {
      await this.#notify(client, correlationId, { status: 500, text: 'failed' }, signal).catch(() => undefined);
      if (signal.aborted || !isFerryError(error)) throw error;
      return error;
    }
    await this.#notify(client, correlationId, { status: 201, text: 'Created' }, signal);
    return undefined;
  }

  /**
   * Looks whether the hub would take a file of this device; gives the host of the storage account, with its port where it has one.
   * @throws {FerryError} HUB_UNREACHABLE, HUB_REFUSED
   */
  async probe(signal: AbortSignal): Promise<string> {
    const client = await this.#open();
    const place = await this.#ask('ask the hub where files are stored', signal, async () =>
      placeSchema.parse(await client.getBlobSharedAccessSignature('modelferry-check')),
    );
    await this.#notify(client, place.correlationId, { status: 500, text: 'nothing was to be stored' }, signal);
    return new URL(`https://${place.hostName}`).host;
  }

  async #notify(
    client: Client,
    correlationId: string,
    outcome: { readonly status: number; readonly text: string },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#ask('tell the hub that a blob is stored', signal, () =>
      client.notifyBlobUploadStatus(correlationId, outcome.status === 201, outcome.status, outcome.text),
    );
  }

  async #open(): Promise<Client> {
    if (this.#client !== undefined) return this.#client;
    const { moduleId: _module, gatewayHostName: _dialled, ...device } = this.#device;
    const identity = formatDeviceConnectionString(device);
    const client = (await loadDeviceSdk()).connectDevice(identity);
    const agent = portAgent(this.#device);
    await client.setOptions({ ...this.#certificate, ...(agent === undefined ? {} : { http: { agent } }) });
    return (this.#client = client);
  }

  async #ask<T>(doing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await withDeadline({ doing, timeoutMs: hubTimeoutMs, signal }, work);
    } catch (cause) {
      if (signal.aborted || cause instanceof FerryError) throw cause;
      const { refused, reason } = answerIn(cause);
      throw new FerryError(refused ? 'HUB_REFUSED' : 'HUB_UNREACHABLE', `Cannot ${doing} at ${this.#device.hostName}`, {
        cause: new Error(reason),
      });
    }
  }
}

/** Takes out of the SDK's error whether the hub answered, and in its own words what. The error itself holds the request. */
function answerIn(thrown: unknown): { readonly refused: boolean; readonly reason: string } {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (!(thrown instanceof Error) || !('response' in thrown) || thrown.response === undefined) {
    return { refused: false, reason: message };
  }
  const body = 'responseBody' in thrown ? String(thrown.responseBody) : '';
  const said = /"Message"\s*:\s*"((?:[^"\\]|\\.){1,300})/.exec(body)?.[1]?.replaceAll(/\\(["\\])/g, '$1');
  return { refused: true, reason: said ?? message };
}

/** The SDK's REST calls go to the hub's own name, and take no port out of it; an agent that has its own directs them where the device dials. */
function portAgent({ hostName, gatewayHostName }: DeviceConnectionString): Agent | undefined {
  const { hostname: host, port } = new URL(`https://${gatewayHostName ?? hostName}`);
  if (gatewayHostName === undefined && port === '') return undefined;
  // `host` and `port` are options of every connection, which an agent's own options override; the types do not know that.
  const options = { keepAlive: true, host, port: Number(port === '' ? 443 : port), servername: host };
  return proxiedAgent(options);
}
