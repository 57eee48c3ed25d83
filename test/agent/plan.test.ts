import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { moduleSpec, type ModuleSpec } from '../../agent/module-spec.ts';
import { type CurrentState, type ObservedModule, plan, proofKey, type Step, stepKey } from '../../agent/plan.ts';
import { edgeModuleSchema } from '../../shared/edge/manifest.ts';

function spec(name: string, changes: { image?: string; env?: string; [field: string]: unknown } = {}): ModuleSpec {
  const { image = `${name}:1`, env = '', ...rest } = changes;
  const module = { type: 'docker', settings: { image }, env: { E: { value: env } }, restartPolicy: 'always', ...rest };
  return moduleSpec(name, edgeModuleSchema.parse(module));
}

/** A module that scores, on a port of this machine: it can rehearse. */
function scoring(name: string, changes: { image?: string; env?: string; [field: string]: unknown } = {}): ModuleSpec {
  const { image = `${name}:1`, hostConfig = {}, ...rest } = changes;
  const host = { PortBindings: { '5001/tcp': [{ HostPort: '5001' }] }, ...(hostConfig as object) };
  const settings = { image, createOptions: JSON.stringify({ HostConfig: host }) };
  return spec(name, { image, ...rest, settings });
}

function current(
  changes: {
    rehearsals?: Record<string, Pick<ObservedModule, 'fingerprint' | 'status'>>;
    proven?: ModuleSpec[];
    withoutRoom?: string[];
    modules?: Record<string, ObservedModule>;
    staged?: string[];
    staging?: string[];
    coolingOff?: Step[];
    restartAsked?: string[];
  } = {},
): CurrentState {
  return {
    modules: new Map(Object.entries(changes.modules ?? {})),
    rehearsals: new Map(Object.entries(changes.rehearsals ?? {})),
    proven: new Set(changes.proven?.map(proofKey)),
    withoutRoom: new Set(changes.withoutRoom),
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

test('pain 12, failed for ever: plan() waits longer after each restart, up to five minutes, and never gives up', () => {
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

test('pain 10, a dead container is not made anew offline: plan() replaces it from the image on the device', () => {
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

const replaced = ['stop a', 'remove a', 'create a', 'start a'];

test('plan() has a module rehearse beside the one that runs, and replaces that only when it has rehearsed well', () => {
  const [old, next] = [scoring('a'), scoring('a', { image: 'a:2' })];
  const state = { modules: { a: observed(old) }, staged: ['a:2'] };
  expect(texts(plan([next], current(state)))).toEqual(['rehearse a']);
  const rehearsals = { a: { fingerprint: next.fingerprint, status: 'running' as const } };
  expect(plan([next], current({ ...state, rehearsals }))).toEqual([]);
  expect(texts(plan([next], current({ ...state, rehearsals, proven: [next] })))).toEqual([
    'end rehearsal a',
    ...replaced,
  ]);
  expect(plan([next], current({ ...state, proven: [next] }))[0]).toEqual({
    kind: 'stop',
    module: 'a',
    why: 'replaced',
  });
});

test('plan() starts a rehearsal again that has ended, is half made, or is of what was wanted before', () => {
  const [old, next] = [scoring('a'), scoring('a', { image: 'a:2' })];
  const state = { modules: { a: observed(old) }, staged: ['a:2'] };
  for (const rehearsal of [
    { fingerprint: next.fingerprint, status: 'exited' as const },
    { fingerprint: next.fingerprint, status: 'created' as const },
    { fingerprint: 'another', status: 'running' as const },
  ]) {
    expect(texts(plan([next], current({ ...state, rehearsals: { a: rehearsal } })))).toEqual(['rehearse a']);
  }
});

test('plan() ends rehearsals that nobody waits for', () => {
  const rehearsals = {
    a: { fingerprint: 'another', status: 'running' as const },
    gone: { fingerprint: 'x', status: 'exited' as const },
  };
  expect(texts(plan([scoring('a')], current({ modules: { a: observed(scoring('a')) }, rehearsals })))).toEqual([
    'end rehearsal a',
    'end rehearsal gone',
  ]);
});

test.each([
  ['it binds no scoring port (5001/tcp) to be asked on', spec('a', { image: 'a:2' })],
  ['it holds devices (Devices)', scoring('a', { image: 'a:2', hostConfig: { Devices: [{ PathOnHost: '/dev/x' }] } })],
  [
    'its network is "host", where it cannot have another port',
    scoring('a', { image: 'a:2', hostConfig: { NetworkMode: 'host' } }),
  ],
  [
    'it may write to "/data" (Binds)',
    scoring('a', { image: 'a:2', hostConfig: { Binds: ['/lib:/lib:ro', '/data:/d'] } }),
  ],
  ['it holds all devices (Privileged)', scoring('a', { image: 'a:2', hostConfig: { Privileged: true } })],
])('plan() stops and starts a module that cannot rehearse, and says why: %s', (unproven, next) => {
  const steps = plan([next], current({ modules: { a: observed(scoring('a')) }, staged: ['a:2'] }));
  expect(texts(steps)).toEqual(replaced);
  expect(steps[0]).toEqual({ kind: 'stop', module: 'a', why: 'replaced', unproven });
});

test('plan() stops and starts a module for which there is no memory to rehearse, but goes on with a rehearsal that has begun', () => {
  const [old, next] = [scoring('a'), scoring('a', { image: 'a:2' })];
  const state = { modules: { a: observed(old) }, staged: ['a:2'], withoutRoom: ['a'] };
  const steps = plan([next], current(state));
  expect(texts(steps)).toEqual(replaced);
  expect(steps[0]).toMatchObject({ unproven: 'there is too little free memory to run both' });
  const rehearsals = { a: { fingerprint: next.fingerprint, status: 'running' as const } };
  expect(plan([next], current({ ...state, rehearsals }))).toEqual([]);
});

test('plan() lets what has rehearsed badly keep what runs, and nobody else waiting', () => {
  const [a, b] = [scoring('a', { image: 'a:2' }), scoring('b', { image: 'b:2' })];
  const state = {
    modules: { a: observed(scoring('a')), b: observed(scoring('b')) },
    staged: ['a:2', 'b:2'],
    coolingOff: [{ kind: 'rehearse' as const, module: 'a' }],
  };
  expect(texts(plan([a, b], current(state)))).toEqual(['rehearse b']);
  expect(texts(plan([a, b], current({ ...state, proven: [b] })))).toEqual([
    'stop b',
    'remove b',
    'create b',
    'start b',
  ]);
});

test('pain 5, downtime during an update: plan() stages all and has all rehearse, one at a time, before it replaces any', () => {
  const [a, b] = [scoring('a', { image: 'a:2' }), scoring('b', { image: 'b:2' })];
  const modules = { a: observed(scoring('a')), b: observed(scoring('b')), old: observed(scoring('old')) };
  expect(texts(plan([a, b], current({ modules, staged: ['a:2'], staging: ['b:2'] })))).toEqual(['rehearse a']);
  expect(plan([a, b], current({ modules, staged: ['a:2'], staging: ['b:2'], proven: [a] }))).toEqual([]);
  expect(texts(plan([a, b], current({ modules, staged: ['a:2', 'b:2'], proven: [a] })))).toEqual(['rehearse b']);
  expect(texts(plan([a, b], current({ modules, staged: ['a:2', 'b:2'], proven: [a, b] })))).toEqual([
    'stop old',
    'remove old',
    ...replaced,
    'stop b',
    'remove b',
    'create b',
    'start b',
  ]);
});

const anySpec = fc.record({
  name: fc.constantFrom('a', 'b', 'c', 'd'),
  image: fc.constantFrom('i:1', 'i:2', 'j:1'),
  env: fc.constantFrom('x', 'y'),
  status: fc.constantFrom('running', 'stopped'),
  restartPolicy: fc.constantFrom('always', 'never', 'on-failure'),
  startupOrder: fc.integer({ min: 0, max: 3 }),
  scores: fc.boolean(),
});
const anyDesired = fc
  .uniqueArray(anySpec, { selector: ({ name }) => name, maxLength: 4 })
  .map((all) => all.map(({ name, scores, ...rest }) => (scores ? scoring(name, rest) : spec(name, rest))));

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
        expect(device.rehearsals.size).toBe(0);
      },
    ),
    { numRuns: 500 },
  );
});

test('plan() leads back to what ran before from any cut, with what ran well never stopped for a module that is bad', () => {
  fc.assert(
    fc.property(anyDesired, anyDesired, fc.nat(12), (before, next, cut) => {
      const device = new Device();
      device.work(before, 100);
      const running = [...device.modules].filter(([, { status }]) => status === 'running').map(([name]) => name);
      device.rehearsesWell = false;
      device.work(next, cut);
      // What can rehearse and is to run another way was kept: no rehearsal has gone well.
      for (const wanted of next) {
        const old = before.find(({ name }) => name === wanted.name);
        if (old === undefined || old.fingerprint === wanted.fingerprint || !running.includes(old.name)) continue;
        if (wanted.rehearsalObstacle !== undefined || wanted.status !== 'running') continue;
        expect(device.modules.get(old.name)).toMatchObject({ fingerprint: old.fingerprint, status: 'running' });
      }
      device.rehearsesWell = true;
      device.work(before, 100);
      expect(plan(before, device.current())).toEqual([]);
      expect([...device.modules.keys()].toSorted()).toEqual(before.map(({ name }) => name).toSorted());
    }),
    { numRuns: 500 },
  );
});

/** A device that does each step at once. It knows what must never be done, and fails when it is told to do it. */
class Device {
  readonly modules = new Map<string, ObservedModule>();
  readonly rehearsals = new Map<string, Pick<ObservedModule, 'fingerprint' | 'status'>>();
  /** Whether what rehearses is good by the next look. */
  rehearsesWell = true;
  readonly #proven = new Set<string>();
  readonly #staged = new Set<string>();

  current(): CurrentState {
    return {
      modules: this.modules,
      rehearsals: this.rehearsals,
      proven: this.#proven,
      withoutRoom: new Set(),
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
      if (steps.length === 0 && !this.#rehearse()) return;
      for (const step of steps.slice(0, stepsMax - done)) {
        this.#do(step, specs);
        done += 1;
      }
    }
  }

  /** Has what rehearses prove that it is good, and says whether anything did. */
  #rehearse(): boolean {
    const found = [...this.rehearsals].map(([name, { fingerprint }]) => proofKey({ name, fingerprint }));
    const isNew = this.rehearsesWell && found.some((key) => !this.#proven.has(key));
    if (isNew) for (const key of found) this.#proven.add(key);
    return isNew;
  }

  #do(step: Step, specs: ReadonlyMap<string, ModuleSpec>): void {
    if (step.kind === 'stage') {
      assert(!this.#staged.has(step.image));
      this.#staged.add(step.image);
      return;
    }
    const container = this.modules.get(step.module);
    const wanted = specs.get(step.module);
    if (step.kind === 'rehearse') {
      // Beside what runs, of what is there, and one at a time.
      assert(container?.status === 'running' && container.fingerprint !== wanted?.fingerprint);
      assert(this.#staged.has(wanted?.image ?? ''));
      assert([...this.rehearsals.keys()].every((name) => name === step.module));
      this.rehearsals.set(step.module, { fingerprint: wanted?.fingerprint ?? '', status: 'running' });
    } else if (step.kind === 'end rehearsal') {
      assert(this.rehearsals.delete(step.module));
    } else if (step.kind === 'create') {
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
      if (step.why === 'replaced' && wanted !== undefined) {
        assert(this.#staged.has(wanted.image));
        const canRehearse = wanted.rehearsalObstacle === undefined && wanted.status === 'running';
        assert(!canRehearse || this.#proven.has(proofKey(wanted)));
      }
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
