import type { Clock } from '../../shared/clock.ts';
import type { Logger } from '../../shared/log.ts';
import { type Sources, deviceRows, moduleRows } from './documents.ts';
import { HubError } from './hub-error.ts';
import { type Address, addressKey } from './identity/identity.ts';
import type { Invocation, Methods } from './methods.ts';
import { holds } from './query/evaluate.ts';
import { parseCondition } from './query/parser.ts';
import type { KeyedRow } from './query/run.ts';
import type { Store } from './store.ts';
import { timeOf } from './time.ts';
import type { TwinChange, Twins } from './twins/twins.ts';

/** What a job does to each device that meets its condition. */
export type JobWork =
  | { readonly type: 'scheduleDeviceMethod'; readonly invocation: Invocation; readonly asked: unknown }
  | { readonly type: 'scheduleUpdateTwin'; readonly change: TwinChange; readonly asked: unknown };

/** How a job, or its part for one device, is getting on. */
export type JobStatus = 'scheduled' | 'running' | 'completed' | 'failed' | 'cancelled';

interface DeviceJob {
  readonly address: Address;
  status: 'pending' | 'running' | 'completed' | 'failed';
  outcome: unknown;
  updatedMs: number;
}

interface Job {
  readonly jobId: string;
  readonly work: JobWork;
  readonly queryCondition: string;
  readonly createdMs: number;
  readonly startMs: number;
  readonly maxExecutionMs: number;
  status: JobStatus;
  endMs: number | undefined;
  devices: DeviceJob[];
}

/** What callers give to make a job. */
export type JobRequest = Pick<Job, 'jobId' | 'work' | 'queryCondition' | 'maxExecutionMs'> & {
  /** When it starts; at once when not given. */
  readonly startMs: number | undefined;
};

/** Devices that a job works on at once: what a hub of one S1 unit does. */
const concurrency = 10;
/** Jobs that are remembered; the oldest that are over go first. */
const jobsMax = 1000;

/**
 * Jobs: a direct method or a change of twins for many devices.
 *
 * Invariants: an id is given once; a job that is over never changes; a job that was running when the hub stopped is failed.
 */
export class Jobs {
  readonly #jobs = new Map<string, Job>();
  readonly #cancels = new Map<string, AbortController>();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #sources: Sources;
  readonly #twins: Twins;
  readonly #methods: Methods;

  constructor(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly log: Logger;
    readonly sources: Sources;
    readonly twins: Twins;
    readonly methods: Methods;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#sources = options.sources;
    this.#twins = options.twins;
    this.#methods = options.methods;
    for (const [id, job] of this.#store.read<Job>('job')) {
      if (job.status === 'running') job.status = 'failed';
      this.#jobs.set(id, job);
      if (job.status === 'scheduled') this.#start(job);
    }
  }

  /** Makes a job; it starts at its time. @throws {HubError} DeviceJobAlreadyExists, ArgumentInvalid */
  create(request: JobRequest): Record<string, unknown> {
    if (this.#jobs.has(request.jobId)) {
      throw new HubError('JobAlreadyExists', `A job with ID '${request.jobId}' already exists.`);
    }
    this.#targets(request.queryCondition);
    const createdMs = this.#clock.nowMs();
    const job: Job = {
      ...request,
      startMs: request.startMs ?? createdMs,
      createdMs,
      status: 'scheduled',
      endMs: undefined,
      devices: [],
    };
    this.#jobs.set(job.jobId, job);
    this.#put(job);
    this.#forgetOld();
    this.#start(job);
    return documentOf(job);
  }

  /** @throws {HubError} JobNotFound */
  get(jobId: string): Record<string, unknown> {
    return documentOf(this.#job(jobId));
  }

  /** Cancels a job that is not over. @throws {HubError} JobNotFound */
  cancel(jobId: string): Record<string, unknown> {
    const job = this.#job(jobId);
    if (job.status === 'scheduled' || job.status === 'running') this.#end(job, 'cancelled');
    this.#cancels.get(jobId)?.abort();
    return documentOf(job);
  }

  /** Gives all jobs, oldest first, as rows for pages. */
  *rows(): Iterable<KeyedRow> {
    for (const job of this.#jobs.values()) {
      yield { key: `${String(job.createdMs).padStart(16, '0')}/${job.jobId}`, row: documentOf(job) };
    }
  }

  /** Gives what jobs did to each device, as rows for queries from `devices.jobs`. */
  *deviceRows(): Iterable<KeyedRow> {
    for (const job of this.#jobs.values()) {
      for (const device of job.devices) {
        yield { key: `${job.jobId}/${addressKey(device.address)}`, row: deviceDocumentOf(job, device) };
      }
    }
  }

  /** Ends everything that runs, when the hub stops. */
  stop(): void {
    for (const cancel of this.#cancels.values()) cancel.abort();
  }

  #start(job: Job): void {
    const cancel = new AbortController();
    this.#cancels.set(job.jobId, cancel);
    this.#run(job, cancel.signal)
      .catch((error: unknown) => {
        if (cancel.signal.aborted) return;
        this.#log.error({ err: error, jobId: job.jobId }, 'a job failed');
        this.#end(job, 'failed');
      })
      .finally(() => this.#cancels.delete(job.jobId));
  }

  async #run(job: Job, signal: AbortSignal): Promise<void> {
    const waitMs = job.startMs - this.#clock.nowMs();
    if (waitMs > 0) await this.#clock.sleep(waitMs, signal);
    job.status = 'running';
    job.devices = this.#targets(job.queryCondition).map((address) => ({
      address,
      status: 'pending',
      outcome: undefined,
      updatedMs: this.#clock.nowMs(),
    }));
    this.#put(job);
    const endMs = this.#clock.nowMs() + job.maxExecutionMs;
    const waiting = [...job.devices];
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        for (let device = waiting.shift(); device !== undefined; device = waiting.shift()) {
          signal.throwIfAborted();
          if (this.#clock.nowMs() > endMs) device.status = 'failed';
          else await this.#runOne(job, device);
        }
      }),
    );
    signal.throwIfAborted();
    this.#end(job, job.devices.every(({ status }) => status === 'completed') ? 'completed' : 'failed');
  }

  async #runOne(job: Job, device: DeviceJob): Promise<void> {
    device.status = 'running';
    try {
      if (job.work.type === 'scheduleUpdateTwin') this.#twins.patch(device.address, job.work.change);
      else device.outcome = { deviceMethodResponse: await this.#methods.invoke(device.address, job.work.invocation) };
      device.status = 'completed';
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      device.status = 'failed';
      device.outcome = { error: { code: String(error.number), description: error.message } };
    }
    device.updatedMs = this.#clock.nowMs();
  }

  #targets(condition: string): readonly Address[] {
    const isAll = condition.trim() === '*' || condition.trim() === '';
    const { from, where } = isAll ? { from: 'devices', where: undefined } : parseCondition(condition);
    const rows = from === 'devices' ? deviceRows(this.#sources) : moduleRows(this.#sources);
    return [...rows].flatMap(({ row }) => {
      if (!holds(where, row)) return [];
      const moduleId = row['moduleId'];
      return [{ deviceId: String(row['deviceId']), moduleId: typeof moduleId === 'string' ? moduleId : undefined }];
    });
  }

  #end(job: Job, status: JobStatus): void {
    job.status = status;
    job.endMs = this.#clock.nowMs();
    this.#put(job);
  }

  #job(jobId: string): Job {
    const job = this.#jobs.get(jobId);
    if (job === undefined) throw new HubError('JobNotFound', `E404002 JobNotFound: job "${jobId}"`);
    return job;
  }

  #put(job: Job): void {
    this.#store.put('job', job.jobId, job);
  }

  #forgetOld(): void {
    for (const [jobId, { endMs }] of this.#jobs) {
      if (this.#jobs.size <= jobsMax) return;
      if (endMs === undefined) continue;
      this.#jobs.delete(jobId);
      this.#store.remove('job', jobId);
    }
  }
}

/** @see https://learn.microsoft.com/rest/api/iothub/service/jobs/get-scheduled-job */
function documentOf(job: Job): Record<string, unknown> {
  const count = (status: DeviceJob['status']): number =>
    job.devices.filter((device) => device.status === status).length;
  return {
    jobId: job.jobId,
    type: job.work.type,
    status: job.status,
    queryCondition: job.queryCondition,
    ...(job.work.type === 'scheduleUpdateTwin'
      ? { updateTwin: job.work.asked }
      : { cloudToDeviceMethod: job.work.asked }),
    createdTime: timeOf(job.createdMs),
    startTime: timeOf(job.startMs),
    ...(job.endMs === undefined ? {} : { endTime: timeOf(job.endMs) }),
    maxExecutionTimeInSeconds: job.maxExecutionMs / 1000,
    deviceJobStatistics: {
      deviceCount: job.devices.length,
      failedCount: count('failed'),
      succeededCount: count('completed'),
      runningCount: count('running'),
      pendingCount: count('pending'),
    },
  };
}

function deviceDocumentOf(job: Job, device: DeviceJob): Record<string, unknown> {
  return {
    jobId: job.jobId,
    jobType: job.work.type,
    deviceId: device.address.deviceId,
    ...(device.address.moduleId === undefined ? {} : { moduleId: device.address.moduleId }),
    status: device.status,
    startTimeUtc: timeOf(job.startMs),
    ...(device.status === 'completed' || device.status === 'failed' ? { endTimeUtc: timeOf(device.updatedMs) } : {}),
    createdDateTimeUtc: timeOf(job.createdMs),
    lastUpdatedDateTimeUtc: timeOf(device.updatedMs),
    ...(device.outcome === undefined ? {} : { outcome: device.outcome }),
  };
}
