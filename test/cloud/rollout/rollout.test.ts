import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { Workspace } from '../../../cloud/workspace/workspace.ts';
import { runFerry } from '../../ferry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { addDevices, startRollout as start } from './rollout-command.ts';
import { type Behaviour, openRolloutRig } from './rollout-rig.ts';

// Each test starts `ferry` several times.
vi.setConfig({ testTimeout: 120_000 });

const good: Behaviour = () => ({ code: 200 });

/** A metric in the hub's own language: agents whose module was started again. */
const restarted =
  "SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent' AND properties.reported.modules.digits.restartCount > 0";

test('ferry edge rollout brings an image to all devices, ring by ring, and leaves one deployment', async () => {
  await using rig = await openRolloutRig();
  const ids = await addDevices(rig, { canary: 2, rest: 4 });
  await rig.connect(ids, good);
  const first = await start(rig, 1);
  expect(first).toMatchObject({ code: 0 });
  expect(first.stderr).toContain('stage 2 of 2 "all"');
  expect(new Set(Object.values(rig.running()))).toEqual(new Set([rig.reference(1)]));
  const second = await start(rig, 2, '--json');
  expect(JSON.parse(second.stdout)).toMatchObject({ phase: 'done', image: 'digits:2', touched: 6 });
  expect(Object.keys(rig.running()).toSorted()).toEqual(ids.toSorted());
  expect(new Set(Object.values(rig.running()))).toEqual(new Set([rig.reference(2)]));
  expect(await rig.client.listDeployments()).toHaveLength(1);
  const service = await runFerry(['service', 'list', '--json'], { cwd: rig.folder });
  expect(JSON.parse(service.stdout)).toMatchObject([{ name: 'digits', image: 'digits:2', state: 'Healthy' }]);
});

test.each<[string, Behaviour, readonly string[]]>([
  ['crashes', () => ({ code: 500, description: 'module digits: exit code 137 after 2 s' }), []],
  ['is slow', () => ({ code: 200, scoring: { requests: 50, errors: 0, p95Ms: 900 } }), ['--latency-ms-max', '100']],
  ['fails requests', () => ({ code: 200, scoring: { requests: 50, errors: 9 } }), ['--error-rate-max', '0.05']],
  ['restarts', () => ({ code: 200, restartCount: 5 }), []],
  ['breaks a metric of the rollout', () => ({ code: 200, restartCount: 1 }), ['--metric', `restarted=${restarted}`]],
])('a version that %s is halted in its first stage and taken back by itself', async (_what, bad, gate) => {
  await using rig = await openRolloutRig();
  const ids = await addDevices(rig, { canary: 2, rest: 3 });
  await rig.connect(ids, (image) => (image === rig.reference(2) ? bad(image) : { code: 200 }));
  expect((await start(rig, 1)).code).toBe(0);
  const run = await start(rig, 2, ...gate);
  expect(run.code).toBe(1);
  expect(run.stderr).toContain('error ROLLOUT_HALTED');
  expect(run.stdout).toMatch(/devices touched +2/);
  expect(run.stdout).toMatch(/took +\d+\.\d s/);
  await expect.poll(() => new Set(Object.values(rig.running()))).toEqual(new Set([rig.reference(1)]));
  const touched = ids.filter((id) => rig.everRan.get(id)?.has(rig.reference(2)));
  expect(touched).toEqual(['canary-0', 'canary-1']);
});

test.each([
  ['above all others', []],
  ['of its own', ['--priority', '50']],
])('rollouts that were halted, with a priority %s, make room for the next and are remembered', async (_what, more) => {
  await using rig = await openRolloutRig();
  await rig.connect(await addDevices(rig, { canary: 1, rest: 1 }), (image) =>
    image === rig.reference(2) ? { code: 500, description: 'no' } : { code: 200 },
  );
  const by = async (verb: string, ...words: string[]) =>
    (await runFerry(['edge', 'rollout', verb, ...words], { cwd: rig.folder })).stdout;
  expect((await start(rig, 1)).code).toBe(0);
  for (let time = 0; time < 3; time += 1) expect((await start(rig, 2, ...more)).code).toBe(1);
  // The one in force, and the last that went wrong.
  expect(await rig.client.listDeployments()).toHaveLength(2);
  await expect.poll(() => new Set(Object.values(rig.running()))).toEqual(new Set([rig.reference(1)]));
  expect((await start(rig, 3)).code).toBe(0);
  expect(await rig.client.listDeployments()).toHaveLength(1);
  const why = /halted in stage "canary": 1 failed, 0 may: canary-0 \(the module "digits" is failed\)/;
  const lines = (await by('list')).trim().split('\n');
  expect(lines.map((line) => /digits:\d/.exec(line)?.[0])).toEqual([
    undefined,
    'digits:3',
    'digits:2',
    'digits:2',
    'digits:2',
    'digits:1',
  ]);
  expect(lines[2]).toMatch(why);
  expect(await by('show', 'digits')).toMatch(new RegExp(`before +digits:2, .*: ${why.source}`));
  expect(JSON.parse(await by('show', 'digits', '--json'))).toMatchObject({
    image: 'digits:3',
    history: [{ phase: 'halted', failed: ['canary-0'], touched: 1 }, {}, {}, { image: 'digits:1', phase: 'done' }],
  });
});

test('an image whose rollout was halted is another deployment when it is rolled out again, the same as long as that goes on', async () => {
  await using rig = await openRolloutRig();
  let isFixed = false;
  await rig.connect(await addDevices(rig, { canary: 1, rest: 1 }), (image) =>
    image === rig.reference(2) && !isFixed ? { code: 500, description: 'no' } : { code: 200 },
  );
  const versions = async (): Promise<unknown[]> =>
    (await rig.client.listDeployments())
      .map(({ content }) => content?.modulesContent?.['$edgeAgent'] as never)
      .map(
        (agent: { 'properties.desired': { modules: { digits: { version?: string } } } }) =>
          agent['properties.desired'].modules.digits.version,
      );
  expect((await start(rig, 1)).code).toBe(0);
  expect((await start(rig, 2)).code).toBe(1);
  expect(await versions()).toEqual([undefined, undefined]);
  isFixed = true;
  expect((await start(rig, 2, '--no-wait')).code).toBe(0);
  const tries = await versions();
  expect(tries).toHaveLength(2);
  expect(tries).toContain(undefined);
  expect(tries).toContainEqual(expect.stringMatching(/^again after \d{4}-\d\d-\d\dT/));
});

test('the first version of all is taken off the devices again when it fails', async () => {
  await using rig = await openRolloutRig();
  await rig.connect(await addDevices(rig, { canary: 1, rest: 1 }), () => ({ code: 500, description: 'no' }));
  expect((await start(rig, 1)).code).toBe(1);
  await expect.poll(() => rig.running()).toEqual({});
});

test('ferry edge rollout show counts who has it by stage, and names what each device runs where that is wanted', async () => {
  await using rig = await openRolloutRig();
  await rig.connect(await addDevices(rig, { canary: 2, rest: 3 }), (image) =>
    image === rig.reference(2) ? { code: 500, description: 'no' } : { code: 200 },
  );
  expect((await start(rig, 1)).code).toBe(0);
  const show = async (...more: string[]) =>
    (await runFerry(['edge', 'rollout', 'show', 'digits', ...more], { cwd: rig.folder })).stdout;
  const shown = await show();
  expect(shown).toMatch(/\ncanary +2 +0 +2\nall +3 +0 +3\n$/);
  expect(shown).not.toContain('rest-0');
  expect((await start(rig, 2)).code).toBe(1);
  await expect.poll(() => new Set(Object.values(rig.running()))).toEqual(new Set([rig.reference(1)]));
  // The devices are back at what they had, by the name that the workspace has for it.
  await expect.poll(() => show('--devices'), { timeout: 20_000 }).toMatch(/\ncanary +canary-0 +yes +digits:1\n/);
  expect(await show()).toMatch(/\ncanary +2 +0 +0\nall +3 +0 +0\n$/);
});

test('ferry edge rollout says with --plan who gets what, and changes nothing', async () => {
  await using rig = await openRolloutRig();
  await addDevices(rig, { canary: 1, rest: 2 });
  const run = await start(rig, 1, '--plan', '--json');
  expect(JSON.parse(run.stdout)).toMatchObject({
    devices: [
      { deviceId: 'canary-0', stage: 'canary', has: 'nothing', gets: 'digits:1' },
      { deviceId: 'rest-0', stage: 'all' },
      { deviceId: 'rest-1', stage: 'all' },
    ],
  });
  expect(await rig.client.listDeployments()).toEqual([]);
  const empty = await start(rig, 1, '--plan', '--stage', 'ring=nobody', '--stage', '100%');
  expect(empty.stderr).toContain('the stage "nobody", one at least was wanted');
});

test('ferry edge rollout refuses a priority that another deployment has, and a second rollout beside one under way', async () => {
  await using rig = await openRolloutRig();
  await rig.connect(await addDevices(rig, { canary: 1, rest: 1 }), good);
  await rig.client.addDeployment({
    id: 'other',
    content: { modulesContent: { $edgeAgent: { 'properties.desired': {} } } },
    targetCondition: "tags.ring = 'nobody'",
    priority: 7,
    labels: {},
  });
  expect((await start(rig, 1, '--priority', '7')).stderr).toContain('the deployment "other" has it');
  expect((await start(rig, 1, '--no-wait')).code).toBe(0);
  const second = await start(rig, 2);
  expect(second.stderr).toContain('a rollout of "digits:1" is rolling');
});

test('a rollout waits for a person where that is wanted, pauses, goes on, and can be aborted', async () => {
  await using rig = await openRolloutRig();
  await rig.connect(await addDevices(rig, { canary: 1, rest: 1 }), good);
  const by = (...words: string[]) => runFerry(['edge', 'rollout', ...words, 'digits', '--json'], { cwd: rig.folder });
  const stages = ['--stage', 'ring=canary bake=0s manual', '--stage', '100% bake=0s name=all manual'];
  const first = await start(rig, 1, ...stages);
  expect(first.stdout).toContain('waiting');
  expect(first.stderr).toContain('ferry edge rollout next digits');
  expect(rig.running()).toEqual({ 'canary-0': rig.reference(1) });
  expect(JSON.parse((await by('pause')).stdout)).toMatchObject({ paused: true, phase: 'waiting' });
  expect(JSON.parse((await by('next')).stdout)).toMatchObject({ phase: 'waiting', stage: { number: 2 } });
  expect(JSON.parse((await by('abort')).stdout)).toMatchObject({ phase: 'aborted' });
  await expect.poll(() => rig.running()).toEqual({});
  expect((await by('pause')).stderr).toContain('it is aborted, one under way was wanted');
});

test('a rollout goes on from another machine, with another workspace', async () => {
  await using rig = await openRolloutRig();
  const ids = await addDevices(rig, { canary: 1, rest: 1 });
  await rig.connect(ids, good);
  expect((await start(rig, 1, '--no-wait')).code).toBe(0);
  await using elsewhere = await temporaryFolder();
  using made = await Workspace.create(elsewhere.path, { name: 'lab' });
  const caFile = join(rig.folder, 'certificates', 'ca.pem');
  await made.setEndpoints(
    { hub: rig.hub.hostName, caFile },
    { hubConnectionString: rig.hub.connectionStrings.iothubowner },
  );
  const run = await runFerry(['edge', 'rollout', 'resume', 'digits', '--json'], { cwd: elsewhere.path });
  expect(run.stderr).toContain('stage 2 of 2 "all"');
  expect(JSON.parse(run.stdout)).toMatchObject({ phase: 'done', image: 'digits:1', touched: 2 });
  expect(rig.running()).toEqual({ 'canary-0': rig.reference(1), 'rest-0': rig.reference(1) });
});

test('a rollout gets over an outage of the hub, and over one that is throttling', async () => {
  await using rig = await openRolloutRig();
  await rig.connect(await addDevices(rig, { canary: 1, rest: 1 }), good);
  const run = start(rig, 1, '--json', '--stage', 'ring=canary bake=2s', '--stage', '100% bake=0s name=all');
  const phase = async () => (await rig.client.listDeployments())[0]?.labels?.['phase'];
  await expect.poll(phase, { timeout: 20_000 }).toBe('baking');
  rig.hub.faults.change({ outageMs: 3_000, throttleRequests: 2 });
  const { stdout, stderr } = await run;
  expect(stderr).toMatch(/503 ServiceUnavailable.*; trying again/);
  expect(JSON.parse(stdout)).toMatchObject({ phase: 'done' });
});

test('a device that was away gets what is right when it is back, in whatever stage the rollout is', async () => {
  await using rig = await openRolloutRig();
  const ids = await addDevices(rig, { canary: 2, rest: 2 });
  await rig.connect(['canary-0', 'rest-0'], good);
  expect((await start(rig, 1)).code).toBe(0);
  expect((await start(rig, 2)).code).toBe(0);
  await rig.connect(['canary-1', 'rest-1'], good);
  await expect.poll(() => Object.keys(rig.running()).toSorted()).toEqual(ids.toSorted());
  expect(rig.everRan.get('rest-1')).toEqual(new Set([rig.reference(2)]));
});
