import type { ModuleSpec } from './module-spec.ts';
import { restartDue } from './restart-policy.ts';

/** One thing to do. Steps are carried out in order; `stage` goes on beside the others. */
export type Step =
  /** Get an image onto the device and ready to run. */
  | { readonly kind: 'stage'; readonly image: string }
  /** Start a module as it is to be beside the one that runs, where it has to prove that it is good. */
  | { readonly kind: 'rehearse'; readonly module: string }
  | { readonly kind: 'end rehearsal'; readonly module: string }
  /** @param unproven why the module takes its place without a rehearsal; absent when it has rehearsed, or had nothing to rehearse beside */
  | { readonly kind: 'create'; readonly module: string; readonly unproven?: string }
  | { readonly kind: 'start'; readonly module: string }
  /** @param unproven why a module is replaced by one that has not rehearsed; absent when it has */
  | { readonly kind: 'stop'; readonly module: string; readonly why: StopReason; readonly unproven?: string }
  | { readonly kind: 'remove'; readonly module: string };

/** Why a module is stopped. */
export type StopReason = 'replaced' | 'not wanted' | 'to be stopped' | 'restart asked for';

/** What is known about a module's container. */
export interface ObservedModule {
  /** Fingerprint of the specification that it was made from. */
  readonly fingerprint: string;
  /** Digest of the image that it was made from. */
  readonly imageDigest?: string;
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
  /** The containers in which modules rehearse, by module. */
  readonly rehearsals: ReadonlyMap<string, Pick<ObservedModule, 'fingerprint' | 'status'>>;
  /** Keys ({@link proofKey}) of what has proven good in a rehearsal. */
  readonly proven: ReadonlySet<string>;
  /** Modules for which there is no memory to run beside what runs. */
  readonly withoutRoom: ReadonlySet<string>;
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
 * - What runs is stopped only when every new image is ready and every new module that can has rehearsed well beside what runs; or when
 *   it is not wanted and everything that is new is ready.
 * - What crashed is started again whatever else is under way.
 * - One module rehearses at a time.
 * - Modules go by `startupOrder`; a new one waits for the images of those before it.
 * - An image that cannot be had, or a module that rehearses badly, keeps no other one waiting.
 */
export function plan(desired: readonly ModuleSpec[], current: CurrentState): Step[] {
  const ordered = [...desired].toSorted((a, b) => a.startupOrder - b.startupOrder || (a.name < b.name ? -1 : 1));
  const rehearsing = ordered.filter((spec) => awaitsProof(spec, current));
  const isReadyToSwitch = rehearsing.length === 0 && !ordered.some((spec) => awaitsImage(spec, current));
  const steps = [
    ...stageSteps(ordered, current),
    ...rehearsalSteps(rehearsing[0], current),
    ...removalSteps(ordered, current, { isReadyToSwitch }),
  ];
  let waitFor = Number.POSITIVE_INFINITY;
  for (const spec of ordered) {
    const container = current.modules.get(spec.name);
    if (spec.startupOrder > waitFor && container === undefined) continue;
    if (container === undefined && awaitsImage(spec, current)) waitFor = Math.min(waitFor, spec.startupOrder);
    steps.push(...moduleSteps(spec, current, { isReadyToSwitch }));
  }
  return withoutFailed(steps, current.coolingOff);
}

/** Names what a step is about, so that its failures can be counted. */
export function stepKey(step: Step): string {
  return `${step.kind} ${step.kind === 'stage' ? step.image : step.module}`;
}

/** Names what a rehearsal proves: a module as it is to be. */
export function proofKey({ name, fingerprint }: Pick<ModuleSpec, 'name' | 'fingerprint'>): string {
  return `${name} ${fingerprint}`;
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

/** Says whether a module waits for an image that may come soon. */
function awaitsImage(spec: ModuleSpec, { modules, staged, coolingOff }: CurrentState): boolean {
  if (staged.has(spec.image) || !needsImage(spec, modules.get(spec.name))) return false;
  return !coolingOff.has(stepKey({ kind: 'stage', image: spec.image }));
}

/** Says whether a module can take its place as soon as it has rehearsed. */
function awaitsProof(spec: ModuleSpec, current: CurrentState): boolean {
  const { staged, coolingOff, rehearsals } = current;
  if (unprovenReason(spec, current) !== undefined || current.proven.has(proofKey(spec))) return false;
  const container = current.modules.get(spec.name);
  const replacesRunning = container?.status === 'running' && container.fingerprint !== spec.fingerprint;
  if (!replacesRunning || spec.status !== 'running' || !staged.has(spec.image)) return false;
  const hasBegun = rehearsals.get(spec.name)?.fingerprint === spec.fingerprint;
  return (hasBegun || !current.withoutRoom.has(spec.name)) && !coolingOff.has(rehearseKey(spec));
}

/** Says why a module takes its place without a rehearsal; nothing when it does not. */
function unprovenReason(spec: ModuleSpec, { rehearsals, withoutRoom }: CurrentState): string | undefined {
  if (spec.rehearsalObstacle !== undefined) return spec.rehearsalObstacle;
  if (rehearsals.get(spec.name)?.fingerprint === spec.fingerprint) return undefined;
  return withoutRoom.has(spec.name) ? 'there is too little free memory to run both' : undefined;
}

/** @param first the module that is to rehearse now, if any is */
function rehearsalSteps(first: ModuleSpec | undefined, { rehearsals }: CurrentState): Step[] {
  const others = [...rehearsals.keys()].filter((module) => module !== first?.name);
  const ends = others.map((module): Step => ({ kind: 'end rehearsal', module }));
  if (first === undefined) return ends;
  const rehearsal = rehearsals.get(first.name);
  const isOn = rehearsal?.status === 'running' && rehearsal.fingerprint === first.fingerprint;
  return isOn ? ends : [...ends, { kind: 'rehearse', module: first.name }];
}

function removalSteps(
  ordered: readonly ModuleSpec[],
  current: CurrentState,
  { isReadyToSwitch }: { readonly isReadyToSwitch: boolean },
): Step[] {
  const wanted = new Set(ordered.map(({ name }) => name));
  // Any new module may be the successor of one that is no longer wanted, so those go on until all new ones can run.
  const allNewStaged = ordered.every((spec) => current.modules.has(spec.name) || current.staged.has(spec.image));
  return [...current.modules].flatMap(([module, { status }]): Step[] => {
    if (wanted.has(module)) return [];
    if (status !== 'running') return [{ kind: 'remove', module }];
    if (!allNewStaged || !isReadyToSwitch) return [];
    return [
      { kind: 'stop', module, why: 'not wanted' },
      { kind: 'remove', module },
    ];
  });
}

function moduleSteps(
  spec: ModuleSpec,
  current: CurrentState,
  { isReadyToSwitch }: { readonly isReadyToSwitch: boolean },
): Step[] {
  const module = spec.name;
  const container = current.modules.get(module);
  const start: Step[] = spec.status === 'running' ? [{ kind: 'start', module }] : [];
  const staged = current.staged.has(spec.image);
  if (container === undefined || container.status === 'dead') {
    if (!staged) return [];
    const create: Step = { kind: 'create', module, ...unprovenAs(spec.rehearsalObstacle) };
    return [...(container === undefined ? [] : [{ kind: 'remove', module } as const]), create, ...start];
  }
  const running = container.status === 'running';
  const mayGo = isReadyToSwitch && !(running && current.coolingOff.has(rehearseKey(spec)));
  if (container.fingerprint !== spec.fingerprint && staged && mayGo) {
    const unproven = unprovenAs(unprovenReason(spec, current));
    const stop: Step = { kind: 'stop', module, why: 'replaced', ...unproven };
    return [...(running ? [stop] : []), { kind: 'remove', module }, { kind: 'create', module, ...unproven }, ...start];
  }
  if (spec.status === 'stopped') return running ? [{ kind: 'stop', module, why: 'to be stopped' }] : [];
  if (!running) return restartDue(spec.restartPolicy, container) ? start : [];
  return current.restartAsked.has(module) ? [{ kind: 'stop', module, why: 'restart asked for' }, ...start] : [];
}

function unprovenAs(reason: string | undefined): { readonly unproven?: string } {
  return reason === undefined ? {} : { unproven: reason };
}

function rehearseKey({ name }: ModuleSpec): string {
  return stepKey({ kind: 'rehearse', module: name });
}

/** Leaves out steps that failed lately, and with each of them the rest of what was to be done with its module. */
function withoutFailed(steps: readonly Step[], coolingOff: ReadonlySet<string>): Step[] {
  const failed = steps.filter((step) => coolingOff.has(stepKey(step)));
  const blocked = new Set(failed.flatMap((step) => (isOfModule(step) ? [step.module] : [])));
  return steps.filter((step) => (isOfModule(step) ? !blocked.has(step.module) : !failed.includes(step)));
}

/** Rehearsals stand beside a module: what fails there keeps nothing of the module itself from being done. */
function isOfModule(step: Step): step is Exclude<Step, { kind: 'stage' | 'rehearse' | 'end rehearsal' }> {
  return step.kind !== 'stage' && step.kind !== 'rehearse' && step.kind !== 'end rehearsal';
}
