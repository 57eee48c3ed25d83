import type { ModuleSpec } from './module-spec.ts';
import { restartDue } from './restart-policy.ts';

/** One thing to do. Steps are carried out in order; `stage` goes on beside the others. */
export type Step =
  /** Get an image onto the device and ready to run. */
  | { readonly kind: 'stage'; readonly image: string }
  | { readonly kind: 'create'; readonly module: string }
  | { readonly kind: 'start'; readonly module: string }
  | { readonly kind: 'stop'; readonly module: string; readonly why: StopReason }
  | { readonly kind: 'remove'; readonly module: string };

/** Why a module is stopped. */
export type StopReason = 'replaced' | 'not wanted' | 'to be stopped' | 'restart asked for';

/** What is known about a module's container. */
export interface ObservedModule {
  /** Fingerprint of the specification that it was made from. */
  readonly fingerprint: string;
  readonly status: 'created' | 'running' | 'exited' | 'dead';
  readonly exitCode: number;
  /** How long it has been seen not to run after it ended by itself, in milliseconds; absent when it was stopped, or nobody saw it end. */
  readonly downForMs?: number;
  /** How often it was started again since it last ran well. */
  readonly restartCount: number;
}

/** What there is on the device. */
export interface CurrentState {
  /** The containers by module. */
  readonly modules: ReadonlyMap<string, ObservedModule>;
  /** Images that are ready to run, as deployments name them. */
  readonly staged: ReadonlySet<string>;
  /** Images that are being staged now. */
  readonly staging: ReadonlySet<string>;
  /** Keys ({@link stepKey}) of steps that failed lately and are not to be tried yet. */
  readonly coolingOff: ReadonlySet<string>;
  /** Modules that somebody asked to start anew. */
  readonly restartAsked: ReadonlySet<string>;
}

/**
 * Says what has to be done so that the device becomes what is desired; nothing when it is. Pure: the same states give the same steps.
 *
 * - A container that runs well is stopped only when its successor's image is ready, or when it is not wanted and everything that is new is.
 * - What crashed is started again whatever else is under way.
 * - Modules go by `startupOrder`; a new one waits for the images of those before it, but not for images that cannot be had.
 */
export function plan(desired: readonly ModuleSpec[], current: CurrentState): Step[] {
  const ordered = [...desired].toSorted((a, b) => a.startupOrder - b.startupOrder || (a.name < b.name ? -1 : 1));
  const steps = [...stageSteps(ordered, current), ...removalSteps(ordered, current)];
  let waitFor = Number.POSITIVE_INFINITY;
  for (const spec of ordered) {
    const container = current.modules.get(spec.name);
    const awaitsImage = container === undefined && !current.staged.has(spec.image);
    if (spec.startupOrder > waitFor && container === undefined) continue;
    if (awaitsImage && !current.coolingOff.has(stepKey({ kind: 'stage', image: spec.image }))) {
      waitFor = Math.min(waitFor, spec.startupOrder);
    }
    steps.push(...moduleSteps(spec, container, current));
  }
  return withoutFailed(steps, current.coolingOff);
}

/** Names what a step is about, so that its failures can be counted. */
export function stepKey(step: Step): string {
  return `${step.kind} ${step.kind === 'stage' ? step.image : step.module}`;
}

function stageSteps(ordered: readonly ModuleSpec[], current: CurrentState): Step[] {
  const wanted = ordered.filter((spec) => needsImage(spec, current.modules.get(spec.name))).map(({ image }) => image);
  return [...new Set(wanted)]
    .filter((image) => !current.staged.has(image) && !current.staging.has(image))
    .map((image) => ({ kind: 'stage', image }));
}

/** Says whether a container will be made from the specification's image. */
function needsImage(spec: ModuleSpec, container: ObservedModule | undefined): boolean {
  return container === undefined || container.fingerprint !== spec.fingerprint || container.status === 'dead';
}

function removalSteps(ordered: readonly ModuleSpec[], current: CurrentState): Step[] {
  const wanted = new Set(ordered.map(({ name }) => name));
  // Any new module may be the successor of one that is no longer wanted, so those go on until all new ones can run.
  const allNewStaged = ordered.every((spec) => current.modules.has(spec.name) || current.staged.has(spec.image));
  return [...current.modules].flatMap(([module, { status }]): Step[] => {
    if (wanted.has(module)) return [];
    if (status !== 'running') return [{ kind: 'remove', module }];
    if (!allNewStaged) return [];
    return [
      { kind: 'stop', module, why: 'not wanted' },
      { kind: 'remove', module },
    ];
  });
}

function moduleSteps(spec: ModuleSpec, container: ObservedModule | undefined, current: CurrentState): Step[] {
  const module = spec.name;
  const start: Step[] = spec.status === 'running' ? [{ kind: 'start', module }] : [];
  const staged = current.staged.has(spec.image);
  if (container === undefined) return staged ? [{ kind: 'create', module }, ...start] : [];
  if (container.status === 'dead') {
    return staged ? [{ kind: 'remove', module }, { kind: 'create', module }, ...start] : [];
  }
  const running = container.status === 'running';
  if (container.fingerprint !== spec.fingerprint && staged) {
    const stop: Step[] = running ? [{ kind: 'stop', module, why: 'replaced' }] : [];
    return [...stop, { kind: 'remove', module }, { kind: 'create', module }, ...start];
  }
  if (spec.status === 'stopped') return running ? [{ kind: 'stop', module, why: 'to be stopped' }] : [];
  if (!running) return restartDue(spec.restartPolicy, container) ? start : [];
  return current.restartAsked.has(module) ? [{ kind: 'stop', module, why: 'restart asked for' }, ...start] : [];
}

/** Leaves out steps that failed lately, and with each of them the rest of what was to be done with its module. */
function withoutFailed(steps: readonly Step[], coolingOff: ReadonlySet<string>): Step[] {
  const failed = steps.filter((step) => coolingOff.has(stepKey(step)));
  const blocked = new Set(failed.flatMap((step) => (step.kind === 'stage' ? [] : [step.module])));
  return steps.filter((step) => (step.kind === 'stage' ? !failed.includes(step) : !blocked.has(step.module)));
}
