import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { withDeadline } from '../shared/deadline.ts';
import { FerryError } from '../shared/errors.ts';
import { findProgram } from '../shared/programs.ts';

/** How long the local world may take to be ready, in milliseconds; it takes about one second. */
const readyTimeoutMs = 60_000;
/** How long it may take to end after it was asked to, before it is killed, in milliseconds. */
const endTimeoutMs = 10_000;

/** What the local world says when it is ready. */
const endpointsSchema = z.object({
  registry: z.string().optional(),
  hub: z
    .object({ hostName: z.string(), connectionString: z.string(), eventHubConnectionString: z.string() })
    .optional(),
  storage: z.object({ blobEndpoint: z.string(), container: z.string(), connectionString: z.string() }).optional(),
  arm: z
    .object({
      endpoint: z.string(),
      tenantId: z.string(),
      subscriptionId: z.string(),
      resourceGroup: z.string(),
      clientId: z.string(),
      clientSecret: z.string(),
    })
    .optional(),
  kubernetes: z.object({ server: z.string(), kubeconfigFile: z.string() }).optional(),
  caFile: z.string(),
});

export type WorldEndpoints = z.infer<typeof endpointsSchema>;

/** What the local world consists of. */
export const worldParts = ['registry', 'hub', 'storage', 'arm', 'kubernetes'] as const;

/** A part of the local world. */
export type WorldPart = (typeof worldParts)[number];

/** What may run the containers of the local world. */
export const worldEngines = ['docker', 'process'] as const;

/** What runs the containers of the local world. */
export type WorldEngine = (typeof worldEngines)[number];

/** The settings of {@link LocalWorld.start}. */
export interface LocalWorldOptions {
  /** Where it keeps its state. */
  readonly folder: string;
  /** OCI image layout that its registry serves. */
  readonly layoutFolder: string;
  /** What of it is started. @default all parts */
  readonly only?: readonly WorldPart[] | undefined;
  /** How often the hub evaluates deployments, in seconds. @default at every change */
  readonly evaluateEverySeconds?: number | undefined;
  /** What runs containers. @default Docker where it answers, else processes */
  readonly engine?: WorldEngine | undefined;
  readonly signal: AbortSignal;
}

/**
 * The registry, IoT Hub and storage account of a laptop, as a process of their own. It ends when its standard input does,
 * so it never outlives this process, whatever ends that.
 */
export class LocalWorld implements AsyncDisposable {
  readonly endpoints: WorldEndpoints;
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess, exited: Promise<unknown>, endpoints: WorldEndpoints) {
    this.#process = child;
    this.#exited = exited;
    this.endpoints = endpoints;
  }

  /**
   * Starts it and waits until all of it is ready.
   * @throws {FerryError} WORLD_FAILED when it ends before that; its own error is on standard error
   */
  static async start(options: LocalWorldOptions): Promise<LocalWorld> {
    const { path } = findProgram('simulators');
    const child = spawn(process.execPath, [...process.execArgv, path, ...argumentsOf(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    try {
      const line = await withDeadline(
        { doing: 'start the local world', timeoutMs: readyTimeoutMs, signal: options.signal },
        () => Promise.race([firstLine(child), exited.then(() => undefined)]),
      );
      if (line === undefined)
        throw new FerryError('WORLD_FAILED', 'Cannot start the local world: it ended before it was ready');
      return new LocalWorld(child, exited, endpointsSchema.parse(JSON.parse(line)));
    } catch (error) {
      await end(child, exited);
      throw error;
    }
  }

  /**
   * Waits until it is asked to stop.
   * @throws {FerryError} WORLD_FAILED when it ends by itself
   */
  async untilStopped(signal: AbortSignal): Promise<void> {
    const { promise: aborted, resolve } = Promise.withResolvers<'stopped'>();
    signal.addEventListener('abort', () => resolve('stopped'), { once: true });
    if (signal.aborted) return;
    const first = await Promise.race([aborted, this.#exited]);
    if (first === 'stopped') return;
    throw new FerryError('WORLD_FAILED', 'Cannot go on: the local world ended by itself, its error is above');
  }

  /** Asks it to end and waits for that. */
  async [Symbol.asyncDispose](): Promise<void> {
    await end(this.#process, this.#exited);
  }
}

function argumentsOf({ folder, layoutFolder, only, evaluateEverySeconds, engine }: LocalWorldOptions): string[] {
  return [
    'world',
    '--folder',
    folder,
    '--layout',
    layoutFolder,
    ...(only === undefined ? [] : ['--only', ...only]),
    ...(evaluateEverySeconds === undefined ? [] : ['--evaluate-every', String(evaluateEverySeconds)]),
    ...(engine === undefined ? [] : ['--engine', engine]),
  ];
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  if (child.stdout === null) return undefined;
  for await (const line of createInterface({ input: child.stdout })) return line;
  return undefined;
}

async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.stdin?.end();
  const killing = setTimeout(() => child.kill('SIGKILL'), endTimeoutMs);
  await exited;
  clearTimeout(killing);
}
