import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { moduleSpec, type ModuleSpec } from '../../agent/module-spec.ts';
import { type CurrentState, type ObservedModule, plan, type Step, stepKey } from '../../agent/plan.ts';
import { edgeModuleSchema } from '../../shared/edge/manifest.ts';

function spec(name: string, changes: { image?: string; env?: string; [field: string]: unknown } = {}): ModuleSpec {
  const { image = `${name}:1`, env = '', ...rest } = changes;
  const module = { type: 'docker', settings: { image }, env: { E: { value: env } }, restartPolicy: 'always', ...rest };
  return moduleSpec(name, edgeModuleSchema.parse(module));
}

function current(
  changes: {
    modules?: Record<string, ObservedModule>;
    staged?: string[];
    staging?: string[];
    coolingOff?: Step[];
    restartAsked?: string[];
  } = {},
): CurrentState {
  return {
    modules: new Map(Object.entries(changes.modules ?? {})),
    staged: new Set(changes.staged),
    staging: new Set(changes.staging),
    coolingOff: new Set(changes.coolingOff?.map(stepKey)),
    restartAsked: new Set(changes.restartAsked),
  };
}

function observed(of: ModuleSpec, changes: Partial<ObservedModule> = {}): ObservedModule {
  return { fingerprint: of.fingerprint, status: 'running', exitCode: 0, restartCount: 0, ...changes };
}

const texts = (steps: readonly Step[]): string[] => steps.map(stepKey);

test('plan() stages the image of a new module before anything else', () => {
  expect(texts(plan([spec('a')], current()))).toEqual(['stage a:1']);
  expect(plan([spec('a')], current({ staging: ['a:1'] }))).toEqual([]);
  expect(texts(plan([spec('a')], current({ staged: ['a:1'] })))).toEqual(['create a', 'start a']);
});

test('plan() leaves a running module alone until the image of its successor is staged', () => {
  const old = spec('a', { image: 'a:1' });
  const next = spec('a', { image: 'a:2' });
  const modules = { a: observed(old) };
  expect(texts(plan([next], current({ modules })))).toEqual(['stage a:2']);
  expect(plan([next], current({ modules, staging: ['a:2'] }))).toEqual([]);
  expect(texts(plan([next], current({ modules, staged: ['a:2'] })))).toEqual([
    'stop a',
    'remove a',
    'create a',
    'start a',
  ]);
});

test('plan() starts a crashed module again while the image of its successor is pulled', () => {
  const modules = { a: observed(spec('a'), { status: 'exited', exitCode: 1, downForMs: 10_000 }) };
  expect(texts(plan([spec('a', { image: 'a:2' })], current({ modules, staging: ['a:2'] })))).toEqual(['start a']);
});

test('plan() keeps a module that is not wanted until all new ones can run', () => {
  const modules = { old: observed(spec('old')) };
  expect(texts(plan([spec('new')], current({ modules })))).toEqual(['stage new:1']);
  expect(texts(plan([spec('new')], current({ modules, staged: ['new:1'] })))).toEqual([
    'stop old',
    'remove old',
    'create new',
    'start new',
  ]);
});

test('plan() removes at once what is not wanted and does not run', () => {
  const modules = { old: observed(spec('old'), { status: 'exited' }) };
  expect(texts(plan([spec('new')], current({ modules })))).toEqual(['stage new:1', 'remove old']);
});

test('plan() changes nothing for a new version, restart policy, pull policy or start order', () => {
  const modules = { a: observed(spec('a')) };
  const next = spec('a', { version: '2', restartPolicy: 'never', imagePullPolicy: 'never', startupOrder: 3 });
  expect(plan([next], current({ modules }))).toEqual([]);
});

test('plan() makes a new container for a new environment without staging the image that is there', () => {
  const modules = { a: observed(spec('a')) };
  expect(texts(plan([spec('a', { env: 'b' })], current({ modules, staged: ['a:1'] })))).toEqual([
    'stop a',
    'remove a',
    'create a',
    'start a',
  ]);
});

test('plan() stops and starts a module as its status says', () => {
  const stopped = spec('a', { status: 'stopped' });
  expect(texts(plan([stopped], current({ modules: { a: observed(stopped) } })))).toEqual(['stop a']);
  const modules = { a: observed(stopped, { status: 'exited' }) };
  expect(plan([stopped], current({ modules }))).toEqual([]);
  expect(texts(plan([spec('a', { restartPolicy: 'never' })], current({ modules })))).toEqual(['start a']);
  expect(texts(plan([stopped], current({ staged: ['a:1'] })))).toEqual(['create a']);
});

test.each([
  ['never', 1, Number.POSITIVE_INFINITY, false],
  ['on-failure', 0, Number.POSITIVE_INFINITY, false],
  ['on-failure', 1, 10_000, true],
  ['on-unhealthy', 137, 10_000, true],
  ['always', 0, 10_000, true],
  ['always', 0, 9_999, false],
] as const)(
  'plan() with policy %s, exit code %i and %i ms down: starts again is %s',
  (restartPolicy, exitCode, downForMs, starts) => {
    const modules = { a: observed(spec('a'), { status: 'exited', exitCode, downForMs }) };
    expect(plan([spec('a', { restartPolicy })], current({ modules })).length).toBe(starts ? 1 : 0);
  },
);

test('plan() waits longer after each restart, up to five minutes, and never gives up', () => {
  const waits = (restartCount: number, downForMs: number): boolean =>
    plan([spec('a')], current({ modules: { a: observed(spec('a'), { status: 'exited', restartCount, downForMs }) } }))
      .length === 0;
  expect([waits(1, 19_999), waits(1, 20_000)]).toEqual([true, false]);
  expect([waits(1000, 299_999), waits(1000, 300_000)]).toEqual([true, false]);
});

test('plan() starts at once what nobody saw end, whatever its policy', () => {
  const modules = { a: observed(spec('a'), { status: 'exited', exitCode: 255 }) };
  expect(texts(plan([spec('a', { restartPolicy: 'never' })], current({ modules })))).toEqual(['start a']);
});

test('plan() replaces a dead container', () => {
  const modules = { a: observed(spec('a'), { status: 'dead' }) };
  expect(texts(plan([spec('a')], current({ modules })))).toEqual(['stage a:1']);
  expect(texts(plan([spec('a')], current({ modules, staged: ['a:1'] })))).toEqual(['remove a', 'create a', 'start a']);
});

test('plan() goes by start order, and a new module waits for the images of those before it', () => {
  const [first, second] = [spec('z', { startupOrder: 1 }), spec('a', { startupOrder: 2 })];
  expect(texts(plan([second, first], current({ staged: ['z:1', 'a:1'] })))).toEqual([
    'create z',
    'start z',
    'create a',
    'start a',
  ]);
  expect(texts(plan([second, first], current({ staged: ['a:1'], staging: ['z:1'] })))).toEqual([]);
});

test('plan() does not let an image that cannot be had keep the modules behind it', () => {
  const desired = [spec('z', { startupOrder: 1 }), spec('a', { startupOrder: 2 })];
  const state = current({ staged: ['a:1'], coolingOff: [{ kind: 'stage', image: 'z:1' }] });
  expect(texts(plan(desired, state))).toEqual(['create a', 'start a']);
});

test('plan() leaves a module alone one of whose steps failed lately, and no other', () => {
  const state = current({ staged: ['a:1', 'b:1'], coolingOff: [{ kind: 'create', module: 'a' }] });
  expect(texts(plan([spec('a'), spec('b')], state))).toEqual(['create b', 'start b']);
});

test('plan() stops and starts a module that somebody asked to restart', () => {
  const state = current({ modules: { a: observed(spec('a')), b: observed(spec('b')) }, restartAsked: ['a'] });
  expect(texts(plan([spec('a'), spec('b')], state))).toEqual(['stop a', 'start a']);
});

const anySpec = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  image: fc.constantFrom('i:1', 'i:2', 'j:1'),
  env: fc.constantFrom('x', 'y'),
  status: fc.constantFrom('running', 'stopped'),
  restartPolicy: fc.constantFrom('always', 'never', 'on-failure'),
  startupOrder: fc.integer({ min: 0, max: 3 }),
});
const anyDesired = fc
  .uniqueArray(anySpec, { selector: ({ name }) => name, maxLength: 4 })
  .map((all) => all.map(({ name, ...rest }) => spec(name, rest)));

test('plan() leads from any sequence of desired states to the last one, and then does nothing', () => {
  fc.assert(
    fc.property(
      fc.array(anyDesired, { minLength: 1, maxLength: 5 }),
      fc.infiniteStream(fc.nat(5)),
      (sequence, cuts) => {
        const device = new Device();
        for (const desired of sequence.slice(0, -1)) device.work(desired, cuts.next().value ?? 0);
        const last = sequence.at(-1) ?? [];
        device.work(last, 100);
        expect(plan(last, device.current())).toEqual([]);
        expect(device.modules.size).toBe(last.length);
        for (const wanted of last) {
          expect(device.modules.get(wanted.name)).toMatchObject({ fingerprint: wanted.fingerprint });
          expect(device.modules.get(wanted.name)?.status === 'running').toBe(wanted.status === 'running');
        }
      },
    ),
    { numRuns: 300 },
  );
});

/** A device that does each step at once. It knows what must never be done, and fails when it is told to do it. */
class Device {
  readonly modules = new Map<string, ObservedModule>();
  readonly #staged = new Set<string>();

  current(): CurrentState {
    return {
      modules: this.modules,
      staged: this.#staged,
      staging: new Set(),
      coolingOff: new Set(),
      restartAsked: new Set(),
    };
  }

  /** Does up to so many steps. */
  work(desired: readonly ModuleSpec[], stepsMax: number): void {
    const specs = new Map(desired.map((wanted) => [wanted.name, wanted]));
    for (let done = 0; done < stepsMax;) {
      const steps = plan(desired, this.current());
      if (steps.length === 0) return;
      for (const step of steps.slice(0, stepsMax - done)) {
        this.#do(step, specs);
        done += 1;
      }
    }
  }

  #do(step: Step, specs: ReadonlyMap<string, ModuleSpec>): void {
    if (step.kind === 'stage') {
      assert(!this.#staged.has(step.image));
      this.#staged.add(step.image);
      return;
    }
    const container = this.modules.get(step.module);
    const wanted = specs.get(step.module);
    if (step.kind === 'create') {
      assert(container === undefined);
      assert(this.#staged.has(wanted?.image ?? ''));
      this.modules.set(step.module, {
        fingerprint: wanted?.fingerprint ?? '',
        status: 'created',
        exitCode: 0,
        restartCount: 0,
      });
    } else if (step.kind === 'start') {
      assert(wanted?.status === 'running');
      this.#change(step.module, { status: 'running' });
    } else if (step.kind === 'stop') {
      assert(container?.status === 'running');
      // Stopped for a reason: it is another, or is not to run; and what follows it can run.
      assert(container?.fingerprint !== wanted?.fingerprint || wanted?.status !== 'running');
      if (step.why === 'replaced') assert(this.#staged.has(wanted?.image ?? ''));
      this.#change(step.module, { status: 'exited' });
    } else {
      assert(container?.status !== 'running');
      this.modules.delete(step.module);
    }
  }

  #change(module: string, changes: Partial<ObservedModule>): void {
    const before = this.modules.get(module);
    if (before === undefined) throw new Error(`there is no ${module}`);
    this.modules.set(module, { ...before, ...changes });
  }
}
