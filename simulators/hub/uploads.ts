import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Clock } from '../../shared/clock.ts';
import { withDeadline } from '../../shared/deadline.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { HubError } from './hub-error.ts';
import type { Store } from './store.ts';

/** The storage account that devices upload files to: Azure's, or Azurite. */
export interface StorageAccount {
  /**
   * Where its blobs are, without the scheme, as devices get it: `account.blob.core.windows.net`, or
   * `localhost:10000/devstoreaccount1`.
   */
  readonly blobHost: string;
  readonly accountName: string;
  /** Base64. */
  readonly accountKey: string;
  /** Made at the first upload if it is not there. @default 'modeldata' */
  readonly container?: string;
}

/** What a device is told about an upload that it may now make. */
export interface UploadGrant {
  readonly correlationId: string;
  readonly hostName: string;
  readonly containerName: string;
  readonly blobName: string;
  /** The query of the blob's address that lets the device write it, with its question mark. */
  readonly sasToken: string;
}

/** A file that a device has uploaded. */
export interface FileNotification {
  readonly deviceId: string;
  readonly blobUri: string;
  readonly blobName: string;
  readonly lastUpdatedTime: string;
  readonly blobSizeInBytes: number;
  readonly enqueuedTimeUtc: string;
}

interface Upload {
  readonly deviceId: string;
  readonly blobName: string;
  readonly expiresMs: number;
}

// @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-file-upload
const activePerDeviceMax = 10;
const ttlMs = 60 * 60 * 1000;
const blobNameCharsMax = 1024;
const storageTimeoutMs = 30_000;

interface UploadsEvents {
  readonly notification: [notification: FileNotification];
}

/**
 * File uploads: the hub gives a device a shared access signature of the storage account, and hears from it when it is done.
 *
 * Invariants: a device has at most 10 uploads under way; each ends once, by its device or by its time.
 */
export class Uploads {
  readonly events = new EventEmitter<UploadsEvents>();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #account: StorageAccount | undefined;
  readonly #active: Map<string, Upload>;
  #container: Promise<void> | undefined;

  constructor(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly log: Logger;
    readonly account: StorageAccount | undefined;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#account = options.account;
    this.#active = this.#store.read<Upload>('upload');
  }

  /**
   * Lets a device upload a file.
   * @throws {HubError} DeviceMaximumActiveFileUploadLimitExceeded, DefaultStorageEndpointNotConfigured, ArgumentInvalid, ServerError
   */
  async begin(deviceId: string, name: string): Promise<UploadGrant> {
    const account = this.#configured();
    if (name === '' || name.length > blobNameCharsMax || /[\p{Cc}\\]/u.test(name)) {
      throw new HubError(
        'ArgumentInvalid',
        `The blob name must have 1 to ${blobNameCharsMax} characters, no backslash and no control character`,
      );
    }
    const containerName = account.container ?? 'modeldata';
    await this.#keepContainer(account, containerName);
    this.#expire();
    const active = [...this.#active.values()].filter((upload) => upload.deviceId === deviceId).length;
    if (active >= activePerDeviceMax) {
      throw new HubError(
        'DeviceMaximumActiveFileUploadLimitExceeded',
        `Number of active file upload requests cannot exceed ${activePerDeviceMax}`,
      );
    }
    const blobName = `${deviceId}/${name}`;
    const expiresMs = this.#clock.nowMs() + ttlMs;
    const sasToken = await this.#sign(account, { containerName, blobName, expiresMs });
    // As opaque as the real one: base64 with characters that a path has to encode.
    const correlationId = `${randomBytes(24).toString('base64')}/${randomBytes(8).toString('base64')}`;
    const upload: Upload = { deviceId, blobName, expiresMs };
    this.#active.set(correlationId, upload);
    this.#store.put('upload', correlationId, upload);
    return { correlationId, hostName: account.blobHost, containerName, blobName, sasToken };
  }

  /**
   * Takes a device's word that an upload is over.
   * @throws {HubError} InvalidFileUploadCorrelationId, ExpiredFileUploadCorrelationId
   */
  async end(deviceId: string, done: { readonly correlationId: string; readonly isSuccess: boolean }): Promise<void> {
    const upload = this.#active.get(done.correlationId);
    if (upload === undefined || upload.deviceId !== deviceId) {
      throw new HubError('InvalidFileUploadCorrelationId', 'No upload of this device has this correlation id');
    }
    this.#forget(done.correlationId);
    if (upload.expiresMs <= this.#clock.nowMs()) {
      throw new HubError('ExpiredFileUploadCorrelationId', 'The time for this upload is over');
    }
    if (!done.isSuccess || this.events.listenerCount('notification') === 0) return;
    const notification = await this.#describe(upload);
    if (notification !== undefined) this.events.emit('notification', notification);
  }

  /** Forgets the uploads of a device that is no more. */
  forgetDevice(deviceId: string): void {
    for (const [correlationId, upload] of this.#active) {
      if (upload.deviceId === deviceId) this.#forget(correlationId);
    }
  }

  #expire(): void {
    const now = this.#clock.nowMs();
    for (const [correlationId, upload] of this.#active) if (upload.expiresMs <= now) this.#forget(correlationId);
  }

  #forget(correlationId: string): void {
    this.#active.delete(correlationId);
    this.#store.remove('upload', correlationId);
  }

  #configured(): StorageAccount {
    if (this.#account !== undefined) return this.#account;
    throw new HubError('DefaultStorageEndpointNotConfigured', 'The hub has no storage account to upload files to');
  }

  async #sign(
    account: StorageAccount,
    blob: { readonly containerName: string; readonly blobName: string; readonly expiresMs: number },
  ): Promise<string> {
    const { BlobSASPermissions, SASProtocol, StorageSharedKeyCredential, generateBlobSASQueryParameters } =
      await import('@azure/storage-blob');
    const credential = new StorageSharedKeyCredential(account.accountName, account.accountKey);
    const query = generateBlobSASQueryParameters(
      {
        containerName: blob.containerName,
        blobName: blob.blobName,
        permissions: BlobSASPermissions.parse('rw'),
        protocol: SASProtocol.Https,
        expiresOn: new Date(blob.expiresMs),
      },
      credential,
    );
    return `?${query.toString()}`;
  }

  async #keepContainer(account: StorageAccount, containerName: string): Promise<void> {
    this.#container ??= this.#createContainer(account, containerName);
    try {
      await this.#container;
    } catch (error) {
      // The next upload tries again.
      this.#container = undefined;
      this.#log.error({ err: error }, 'the storage account cannot be reached');
      throw new HubError(
        'ServerError',
        `The storage account at "${account.blobHost}" cannot be reached: ${messageOf(error)}`,
      );
    }
  }

  async #createContainer(account: StorageAccount, containerName: string): Promise<void> {
    const service = await serviceOf(account);
    await withDeadline(
      { doing: `reach the storage account at ${account.blobHost}`, timeoutMs: storageTimeoutMs },
      async (abortSignal) => {
        await service.getContainerClient(containerName).createIfNotExists({ abortSignal });
      },
    );
  }

  async #describe(upload: Upload): Promise<FileNotification | undefined> {
    const account = this.#configured();
    const service = await serviceOf(account);
    const blob = service.getContainerClient(account.container ?? 'modeldata').getBlobClient(upload.blobName);
    try {
      const properties = await withDeadline(
        { doing: `read about ${upload.blobName}`, timeoutMs: storageTimeoutMs },
        (abortSignal) => blob.getProperties({ abortSignal }),
      );
      return {
        deviceId: upload.deviceId,
        blobUri: blob.url,
        blobName: upload.blobName,
        lastUpdatedTime: (properties.lastModified ?? new Date(this.#clock.nowMs())).toISOString(),
        blobSizeInBytes: properties.contentLength ?? 0,
        enqueuedTimeUtc: new Date(this.#clock.nowMs()).toISOString(),
      };
    } catch (error) {
      this.#log.warn({ err: error, blob: upload.blobName }, 'a device says that it uploaded a file that is not there');
      return undefined;
    }
  }
}

async function serviceOf(account: StorageAccount) {
  const { BlobServiceClient, StorageSharedKeyCredential } = await import('@azure/storage-blob');
  const credential = new StorageSharedKeyCredential(account.accountName, account.accountKey);
  return new BlobServiceClient(`https://${account.blobHost}`, credential, { retryOptions: { maxTries: 2 } });
}
