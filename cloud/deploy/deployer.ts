import type { Image } from '../images/image.ts';
import type { Sample } from '../models/sample.ts';
import type { Compute } from '../workspace/config.ts';
import type { Workspace } from '../workspace/workspace.ts';
import type { ServiceSecrets } from './service-keys.ts';
import type { ServiceRecord } from './service-records.ts';
import type { ServiceStatus } from './service-state.ts';
import type { GivenSettings, ServiceSettings } from './settings/definitions.ts';
import type { TargetReference } from './target.ts';

/** All that a service is to be, checked and complete: what a deployer brings about, whatever there is now. */
export interface DesiredService {
  readonly name: string;
  readonly target: TargetReference;
  /** Deployed by its digest, never by its version. */
  readonly image: Image;
  /** What the user gave; {@link settings} is this with the rest filled in. */
  readonly given: GivenSettings;
  readonly settings: ServiceSettings;
  readonly secrets: ServiceSecrets;
  /** A request and its answer, which prove a new replica before callers get to it; absent where the model has none. */
  readonly sample: Sample | undefined;
  /** `<subscription>/<resource group>/<workspace>` */
  readonly scope: string;
}

/** Where a deployer has put a service: its own words, read back by itself alone. Kept in the workspace's database, so no secrets. */
export type Deployment = Readonly<Record<string, unknown>>;

/** What would be done, before anything is. */
export interface DeployPlan {
  /** A line each, for people; empty where the service is as it should be. */
  readonly steps: readonly string[];
  /** What would be sent, as the target takes it: Kubernetes objects, a container group, an IoT Edge manifest. No secrets in it. */
  readonly documents: readonly unknown[];
  /** What each place will run, where there are several. */
  readonly places?: readonly { readonly name: string; readonly runs: readonly string[] }[];
}

/** The settings of one call. */
export interface DeployOptions {
  /** Whether what stands in the way of others may go: modules of another deployment, for example. */
  readonly replace: boolean;
  /** Told what the user should know and what is no failure; kept in the operation's log. */
  readonly note: (line: string) => void;
  readonly signal: AbortSignal;
}

/** Which lines of a service's output are wanted. */
export interface ServiceLogOptions {
  /** Only the last ones of each instance: how many. */
  readonly tail: number;
  /** Whether to go on as lines come, until the signal is aborted. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/**
 * Brings services about on one kind of target.
 *
 * - It is told all that a service is to be, and looks at what there is: making, updating, scaling and renewing keys are one thing.
 * - The same desired service given again changes nothing, and takes up what a killed program has left.
 * - What was healthy is not stopped before its successor is; callers of a service that is updated see no failure.
 * - A failure of {@link apply} leaves what was there running.
 */
export interface Deployer extends AsyncDisposable {
  /** Looks outside, without touching anything, whether a service could be brought about. @throws {FerryError} naming all that is in the way */
  check(desired: DesiredService, current: ServiceRecord | undefined, options: DeployOptions): Promise<void>;
  /** Says what {@link apply} would do. */
  plan(desired: DesiredService, current: ServiceRecord | undefined, options: DeployOptions): Promise<DeployPlan>;
  /** Asks the target for it; comes back when the target has taken it, not when it is Healthy. */
  apply(desired: DesiredService, current: ServiceRecord | undefined, options: DeployOptions): Promise<Deployment>;
  /** Looks how it is: asked for each time, never stored. A target that has lost it says Failed. */
  observe(record: ServiceRecord): Promise<ServiceStatus>;
  /** Gives what its containers wrote, a line each, before which its instance stands where there are several. */
  logs(record: ServiceRecord, options: ServiceLogOptions): AsyncIterable<string>;
  /** Removes all that was made for it, done or half done. @returns what was removed, a line each */
  remove(record: ServiceRecord, options: DeployOptions): Promise<readonly string[]>;
}

/** What a deployer is opened with. */
export interface DeployerContext {
  readonly workspace: Workspace;
  /** What the target's name stands for in `workspace.json`; absent where none was named. */
  readonly compute: Compute | undefined;
  readonly signal: AbortSignal;
}
