import type { Digest } from '../digest.ts';
import type { CreateOptions } from '../edge/create-options.ts';

/** Where every container finds the folder that outlives it, whatever image it is made from. */
export const dataMountPoint = '/var/modelferry/data';

/** What a container is made of. */
export interface ContainerSpec {
  /** Letters, digits, `_` and `-`; one container of the owner has it. */
  readonly name: string;
  /** Digest of an image that {@link ContainerEngine.prepareImage} has made ready. */
  readonly image: Digest;
  /** Goes over what the image and `settings.Env` say. */
  readonly environment: Readonly<Record<string, string>>;
  /** The body of Docker's `POST /containers/create`, as far as the engine can carry it out. */
  readonly settings: CreateOptions;
  /**
   * Name of another container of the owner, whose network it is in, with its address and its ports: it publishes none itself. Where containers have no
   * networks of their own it is in that one anyway. @default a network of its own
   */
  readonly networkOf?: string;
  /** Folder of this machine that the container finds at {@link dataMountPoint}; it exists and outlives the container. */
  readonly dataFolder: string;
  /** Kept with the container and given back by `list`. */
  readonly labels: Readonly<Record<string, string>>;
}

/** How a container is. */
export interface ContainerState {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `created` was never started; `dead` cannot be started again and has to be removed. */
  readonly status: 'created' | 'running' | 'exited' | 'dead';
  /** Of the last run; 0 before the first. 128 and the signal's number where a signal ended it, 255 where nobody saw it end. */
  readonly exitCode: number;
  /** When it was last started, ISO 8601 (UTC); by this machine's clock, which may jump. */
  readonly startedAt?: string;
  /** When its last run ended, ISO 8601 (UTC). */
  readonly finishedAt?: string;
}

/** Which lines of a container's output are wanted; all of them without. */
export interface LogSelection {
  /** Only the last ones: how many. */
  readonly tail?: number;
  /** Only lines from a time on, in milliseconds since 1970; where the engine notes no times, as the lines themselves say. */
  readonly sinceMs?: number;
  /** Only lines before a time, in the same way. */
  readonly untilMs?: number;
}

/** The settings of {@link ContainerEngine.start}. */
export interface StartOptions {
  /**
   * A socket of this program, bound and not listened on, that the container's program accepts connections at, as others with it may: it finds its
   * number in {@link listenVariable}. Plain processes alone can take one over.
   * @default none
   */
  readonly socket?: BoundSocket | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A handle of Node's, as `stdio` of a process takes it. */
export interface BoundSocket {
  /** Of the file descriptor. */
  readonly fd: number;
}

/** The variable that holds the file descriptor of a socket which was handed over. */
export const listenVariable = 'MODELFERRY_LISTEN_FD';

/** The settings of {@link ContainerEngine.stop}. */
export interface StopOptions {
  /** How long it may take to end by itself after SIGTERM before it is killed, in milliseconds. */
  readonly graceMs: number;
  readonly signal?: AbortSignal;
}

/**
 * What runs containers. Two ship: Docker's, and plain supervised processes. An engine sees only the containers of its owner, and
 * a container goes on when the program that owns the engine ends.
 *
 * Every failure is a FerryError: ENGINE_FAILED, PORT_IN_USE, IMAGE_NOT_FOUND, IMAGE_INVALID, DISK_FULL.
 */
export interface ContainerEngine extends AsyncDisposable {
  readonly kind: 'docker' | 'process';
  /** Makes an image of the owner's image layout ready to run; does nothing when it is. */
  prepareImage(image: Digest, signal?: AbortSignal): Promise<void>;
  /** Removes what {@link prepareImage} made; does nothing when there is nothing. A container that uses it must be gone. */
  forgetImage(image: Digest, signal?: AbortSignal): Promise<void>;
  /** Gives all containers of the owner, by name. */
  list(signal?: AbortSignal): Promise<readonly ContainerState[]>;
  /** Makes a container without starting it. One of the same name must be gone. */
  create(spec: ContainerSpec, signal?: AbortSignal): Promise<void>;
  /** Starts it; does nothing when it runs. Comes back when its process exists, not when it is ready. */
  start(name: string, options?: StartOptions): Promise<void>;
  /** Ends it; does nothing when it does not run or is not there. */
  stop(name: string, options: StopOptions): Promise<void>;
  /** Removes a container that does not run, with its output; does nothing when it is not there. The data folder stays. */
  remove(name: string, signal?: AbortSignal): Promise<void>;
  /** Gives what it wrote to standard output and standard error, as far as rotation kept it. */
  logs(name: string, selection?: LogSelection, signal?: AbortSignal): Promise<string>;
}
