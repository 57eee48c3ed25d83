import { randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import type { ContainerClient } from '@azure/storage-blob';
import type { Clock } from '../../shared/clock.ts';
import { withDeadline } from '../../shared/deadline.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { type Sources, deviceRows, moduleRows } from './documents.ts';
import { HubError } from './hub-error.ts';
import { type BulkOptions, applyBulkEntry, bulkEntrySchema } from './identity/bulk.ts';
import type { Authentication } from './identity/identity.ts';
import { isObject } from './json.ts';
import type { Store } from './store.ts';
import { timeOf } from './time.ts';

/** What a caller wants imported or exported. */
export interface ImportExportRequest {
  readonly type: 'import' | 'export';
  /** Containers' addresses, each with a shared access signature. */
  readonly inputBlobContainerUri?: string | undefined;
  readonly outputBlobContainerUri: string;
  readonly inputBlobName: string;
  readonly outputBlobName: string;
  readonly excludeKeysInExport: boolean;
}

interface ImportExportJob extends ImportExportRequest {
  readonly jobId: string;
  readonly startTimeUtc: string;
  readonly status: 'enqueued' | 'running' | 'completed' | 'failed' | 'cancelled';
  readonly progress: number;
  readonly endTimeUtc?: string;
  readonly failureReason?: string;
}

/** Jobs that are remembered; the oldest that are over go first. */
const jobsMax = 100;
/** How long one transfer from or to the storage may take. */
const transferTimeoutMs = 120_000;
/** Largest blob that is imported, in bytes. */
const importBytesMax = 256 * 1024 * 1024;
/** Entries that are taken in at one go, so that others are served in between. */
const entriesPerStep = 100;
/** Where the entries that could not be imported are listed, in the output container. */
const errorsBlobName = 'importErrors.log';

/**
 * Import and export of all devices and modules, as blobs of one JSON document a line.
 *
 * Invariants: one job runs at a time; a job that is over never changes; one that was not over when the hub stopped is failed.
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-bulk-identity-mgmt
 */
export class ImportExport {
  readonly #jobs: Map<string, ImportExportJob>;
  readonly #running = new AbortController();
  readonly #cancels = new Map<string, AbortController>();
  readonly #options: BulkOptions & { readonly store: Store; readonly log: Logger; readonly sources: Sources };
  #queue: Promise<void> = Promise.resolve();

  constructor(
    options: Omit<BulkOptions, 'registry'> & {
      readonly store: Store;
      readonly clock: Clock;
      readonly log: Logger;
      readonly sources: Sources;
    },
  ) {
    this.#options = { ...options, registry: options.sources.registry };
    this.#jobs = options.store.read<ImportExportJob>('registry-job');
    for (const job of this.#jobs.values()) {
      if (isOver(job)) continue;
      this.#change(job.jobId, { status: 'failed', failureReason: 'The hub was stopped' });
    }
  }

  /** Takes a job in; it runs when those before it are over. */
  create(request: ImportExportRequest): ImportExportJob {
    const { clock, log } = this.#options;
    const jobId = randomUUID();
    const job: ImportExportJob = {
      ...request,
      jobId,
      startTimeUtc: timeOf(clock.nowMs()),
      status: 'enqueued',
      progress: 0,
    };
    this.#put(job);
    this.#forgetOld();
    const cancel = new AbortController();
    this.#cancels.set(jobId, cancel);
    const signal = AbortSignal.any([cancel.signal, this.#running.signal]);
    this.#queue = this.#queue
      .then(async () => await this.#run(job, signal))
      .catch((error: unknown) => {
        // The store may be closed already.
        if (this.#running.signal.aborted) return;
        log.warn({ err: error, jobId }, 'a job of the registry failed');
        if (!signal.aborted) this.#end(jobId, { status: 'failed', failureReason: reasonOf(error) });
      })
      .finally(() => this.#cancels.delete(jobId));
    return job;
  }

  /** @throws {HubError} JobNotFound */
  get(jobId: string): ImportExportJob {
    const job = this.#jobs.get(jobId);
    if (job === undefined) throw new HubError('JobNotFound', `E404002 JobNotFound: job "${jobId}"`);
    return job;
  }

  /** Gives all jobs, the oldest first. */
  list(): readonly ImportExportJob[] {
    return [...this.#jobs.values()].sort((left, right) => (left.startTimeUtc < right.startTimeUtc ? -1 : 1));
  }

  /** Cancels a job that is not over; what it has imported stays. @throws {HubError} JobNotFound */
  cancel(jobId: string): ImportExportJob {
    if (!isOver(this.get(jobId))) this.#end(jobId, { status: 'cancelled' });
    this.#cancels.get(jobId)?.abort();
    return this.get(jobId);
  }

  /** Ends everything that runs, when the hub stops. */
  stop(): void {
    this.#running.abort();
  }

  async #run(job: ImportExportJob, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#change(job.jobId, { status: 'running' });
    if (job.type === 'export') await this.#export(job, signal);
    else await this.#import(job, signal);
    signal.throwIfAborted();
    this.#end(job.jobId, { status: 'completed', progress: 100 });
  }

  async #export(job: ImportExportJob, signal: AbortSignal): Promise<void> {
    const { sources } = this.#options;
    const devices = [...deviceRows(sources)].map(({ row }) => entryOf(sources, { row, job }));
    const modules = [...moduleRows(sources)].map(({ row }) => entryOf(sources, { row, job }));
    await write(await openContainer(job.outputBlobContainerUri), {
      name: job.outputBlobName,
      lines: [...devices, ...modules],
      signal,
    });
  }

  async #import(job: ImportExportJob, signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const lines = await read(await openContainer(job.inputBlobContainerUri ?? ''), job.inputBlobName, signal);
    const failures: unknown[] = [];
    for (let at = 0; at < lines.length; at += entriesPerStep) {
      signal.throwIfAborted();
      const step = lines.slice(at, at + entriesPerStep);
      store.together(() => failures.push(...step.flatMap((line) => this.#importOne(line))));
      this.#change(job.jobId, { progress: Math.floor((100 * at) / lines.length) });
      await new Promise(setImmediate);
    }
    if (failures.length === 0) return;
    await write(await openContainer(job.outputBlobContainerUri), { name: errorsBlobName, lines: failures, signal });
  }

  #importOne(line: string): readonly unknown[] {
    let given: unknown;
    try {
      given = JSON.parse(line);
    } catch {
      return [{ errorCode: 'IotHubFormatError', errorStatus: `The line is no JSON: ${line.slice(0, 100)}` }];
    }
    const entry = bulkEntrySchema.safeParse(given);
    if (!entry.success) {
      const [issue] = entry.error.issues;
      const errorStatus = `The line is no device: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`;
      return [{ errorCode: 'ArgumentInvalid', errorStatus }];
    }
    const failure = applyBulkEntry(entry.data, this.#options);
    return failure === undefined ? [] : [failure];
  }

  #end(jobId: string, change: Partial<ImportExportJob>): void {
    this.#change(jobId, { ...change, endTimeUtc: timeOf(this.#options.clock.nowMs()) });
  }

  #change(jobId: string, change: Partial<ImportExportJob>): void {
    this.#put({ ...this.get(jobId), ...change });
  }

  #put(job: ImportExportJob): void {
    this.#jobs.set(job.jobId, job);
    this.#options.store.put('registry-job', job.jobId, job);
  }

  #forgetOld(): void {
    for (const job of this.list()) {
      if (this.#jobs.size <= jobsMax) return;
      if (!isOver(job)) continue;
      this.#jobs.delete(job.jobId);
      this.#options.store.remove('registry-job', job.jobId);
    }
  }
}

function isOver({ status }: ImportExportJob): boolean {
  return status !== 'enqueued' && status !== 'running';
}

/** The storage's own code, where it gives one, and the first line of what it says. */
function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? `${String(error.code)}: ` : '';
  return `${code}${messageOf(error).split('\n')[0] ?? ''}`;
}

/** Makes a line of an export of what a query gives of a device or module. */
function entryOf(
  { registry }: Sources,
  { row, job }: { readonly row: Readonly<Record<string, unknown>>; readonly job: ImportExportJob },
): Readonly<Record<string, unknown>> {
  const deviceId = String(row['deviceId']);
  const module = typeof row['moduleId'] === 'string' ? registry.module(deviceId, row['moduleId']).identity : undefined;
  const device = registry.device(deviceId).identity;
  const { etag, authentication } = module ?? device;
  return {
    id: deviceId,
    ...(module === undefined
      ? { status: device.status, capabilities: device.capabilities, deviceScope: device.deviceScope }
      : { moduleId: module.moduleId, managedBy: module.managedBy }),
    eTag: etag,
    authentication: job.excludeKeysInExport ? withoutKeys(authentication) : authentication,
    twinETag: row['etag'],
    tags: row['tags'],
    properties: isObject(row['properties']) ? row['properties'] : {},
  };
}

function withoutKeys(authentication: Authentication): Authentication {
  return { ...authentication, symmetricKey: { primaryKey: null, secondaryKey: null } };
}

async function openContainer(uri: string): Promise<ContainerClient> {
  const { ContainerClient } = await import('@azure/storage-blob');
  return new ContainerClient(uri, undefined, { retryOptions: { maxTries: 2 } });
}

async function read(container: ContainerClient, name: string, signal: AbortSignal): Promise<readonly string[]> {
  const blob = container.getBlobClient(name);
  const bytes = await withDeadline(
    { doing: `read the blob "${name}"`, timeoutMs: transferTimeoutMs, signal },
    async (abortSignal) => {
      const { contentLength = 0, readableStreamBody } = await blob.download(0, undefined, { abortSignal });
      if (contentLength <= importBytesMax && readableStreamBody !== undefined) return await buffer(readableStreamBody);
      throw new HubError(
        'ArgumentInvalid',
        `The blob "${name}" has ${contentLength} bytes, ${importBytesMax} at most were wanted`,
      );
    },
  );
  return bytes
    .toString('utf8')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
}

async function write(
  container: ContainerClient,
  blob: { readonly name: string; readonly lines: readonly unknown[]; readonly signal: AbortSignal },
): Promise<void> {
  const { name, lines, signal } = blob;
  const text = lines.map((line) => `${JSON.stringify(line)}\r\n`).join('');
  await withDeadline(
    { doing: `write the blob "${name}"`, timeoutMs: transferTimeoutMs, signal },
    async (abortSignal) => {
      await container.getBlockBlobClient(name).uploadData(Buffer.from(text), { abortSignal });
    },
  );
}
