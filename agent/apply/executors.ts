import type { Clock } from '../../shared/clock.ts';
import type { ContainerEngine } from '../../shared/containers/engine.ts';
import { withDeadline } from '../../shared/deadline.ts';
import type { Digest } from '../../shared/digest.ts';
import { labelsOf, rehearsalLabels } from '../labels.ts';
import type { ModuleSpec } from '../module-spec.ts';
import type { ModuleWatch } from '../module-watch.ts';
import type { Step } from '../plan.ts';
import { rehearsalName, rehearsalSpec, withoutLeftOut } from '../rehearsal-spec.ts';
import type { ModulePlaces } from './module-places.ts';

/** A step that is carried out in its turn; staging goes on beside. */
export type OrderedStep = Exclude<Step, { kind: 'stage' }>;

/** What steps act on. */
export interface ApplyContext {
  readonly engine: ContainerEngine;
  readonly watch: ModuleWatch;
  readonly clock: Clock;
  /** The desired modules by name. */
  readonly specs: ReadonlyMap<string, ModuleSpec>;
  /** Digests of the images that are ready to run, as deployments name them. */
  readonly staged: ReadonlyMap<string, Digest>;
  readonly places: ModulePlaces;
  /** Variables that every module gets, under those of its own. */
  readonly environmentOf: (module: string) => Readonly<Record<string, string>>;
}

/** How long a module may take to end by itself before it is killed, in milliseconds; Docker's own default. */
const stopGraceMs = 10_000;

/** How long each kind of step may take, in milliseconds: many times what it takes on a slow device. */
const timeoutMs = {
  rehearse: 120_000,
  'end rehearsal': 60_000,
  create: 60_000,
  start: 60_000,
  stop: stopGraceMs + 20_000,
  remove: 60_000,
} as const;

/** How long a rehearsal may take to end by itself before it is killed, in milliseconds: nothing is lost with it. */
const rehearsalGraceMs = 1_000;

/** What carries out each kind of step; the compiler sees that none is missing. */
const executors: {
  readonly [Kind in OrderedStep['kind']]: (
    step: Extract<OrderedStep, { kind: Kind }>,
    context: ApplyContext,
    signal: AbortSignal,
  ) => Promise<void>;
} = {
  async rehearse({ module }, context, signal) {
    await endRehearsal(module, context, signal);
    const { spec, image } = toCreate(context, module);
    const name = rehearsalName(module);
    const port = await context.places.freePort();
    const { environment, createOptions } = rehearsalSpec(spec, port);
    const dataFolder = await context.places.makeDataFolder(name);
    const labels = rehearsalLabels(spec, image, port);
    const all = { ...withoutLeftOut(context.environmentOf(module)), ...environment };
    await context.engine.create({ name, image, environment: all, settings: createOptions, dataFolder, labels }, signal);
    await context.engine.start(name, { signal });
  },
  async 'end rehearsal'({ module }, context, signal) {
    await endRehearsal(module, context, signal);
  },
  async create({ module, unproven }, context, signal) {
    const { spec, image } = toCreate(context, module);
    const dataFolder = await context.places.makeDataFolder(module);
    await context.engine.create(
      {
        name: module,
        image,
        environment: { ...context.environmentOf(module), ...spec.environment },
        settings: spec.createOptions,
        dataFolder,
        labels: labelsOf(spec, image, unproven),
      },
      signal,
    );
    context.watch.forget(module);
  },
  async start({ module }, { engine, watch, clock }, signal) {
    await engine.start(module, { signal });
    watch.noteStarted(module, clock.monotonicMs());
  },
  async stop({ module }, { engine, watch }, signal) {
    // Noted before and after: whether it comes back or is cut short, the end of the module is no crash.
    watch.noteStopped(module);
    await engine.stop(module, { graceMs: stopGraceMs, signal });
    watch.noteStopped(module);
  },
  async remove({ module }, { engine, watch }, signal) {
    await engine.remove(module, signal);
    watch.forget(module);
  },
};

/**
 * Carries out one step.
 * @throws {FerryError} TIMEOUT when it takes longer than any such step should, and all that the engine throws
 */
export async function execute(step: OrderedStep, context: ApplyContext, signal: AbortSignal): Promise<void> {
  const deadline = { doing: `${step.kind} the module "${step.module}"`, timeoutMs: timeoutMs[step.kind], signal };
  await withDeadline(deadline, (stepSignal) => {
    // The table is typed by kind, which the compiler does not carry over an index by a union.
    const executor = executors[step.kind] as (
      step: OrderedStep,
      context: ApplyContext,
      signal: AbortSignal,
    ) => Promise<void>;
    return executor(step, context, stepSignal);
  });
}

/** Leaves nothing of a rehearsal; there may be none. */
async function endRehearsal(module: string, { engine, places }: ApplyContext, signal: AbortSignal): Promise<void> {
  const name = rehearsalName(module);
  await engine.stop(name, { graceMs: rehearsalGraceMs, signal });
  // Before the container: as long as that is there, whatever is left is found again.
  await places.removeFolder(name);
  await engine.remove(name, signal);
}

function toCreate({ specs, staged }: ApplyContext, module: string): { spec: ModuleSpec; image: Digest } {
  const spec = specs.get(module);
  const image = staged.get(spec?.image ?? '');
  if (spec === undefined || image === undefined) throw new Error(`The plan creates "${module}" before it can be`);
  return { spec, image };
}
