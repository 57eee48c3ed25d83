import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { freePort } from '../../agent/apply/free-port.ts';
import { runAgent } from '../../agent/run.ts';
import { parseDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { createLogger } from '../../shared/log.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { mediaTypes } from '../../shared/oci/media-types.ts';
import { addDevices } from '../cloud/rollout/rollout-command.ts';
import { addVersion, openRolloutRig, type RolloutRig } from '../cloud/rollout/rollout-rig.ts';
import { runFerry } from '../ferry.ts';
import { putTestImage } from '../shared/containers/test-image.ts';
import { until } from '../until.ts';

/** What a bad model does, in the scoring server around it. */
const badModels = {
  crashes: { does: 'process.exit(3);', gate: [] },
  'scores its sample wrong': { does: 'answer = { y: [2] };', gate: [] },
  // More than its memory within seconds, but not before it has scored its sample.
  leaks: { does: 'setInterval(() => kept.push(new Array(1_000_000).fill(kept.length)), 200);', gate: [] },
  'is slow': { does: 'delayMs = 400;', gate: ['--latency-ms-max', '100'] },
} as const;

/** A scoring server with the metrics that the gate's figures come from. */
const server = (does: string): string => `
import { createServer } from 'node:http';
const kept = [];
let [answer, delayMs, count, quick] = [{ y: [1] }, 0, 0, 0];
${does}
createServer((request, response) => {
  if (request.url === '/metrics') {
    const buckets = [['0.1', quick], ['0.5', count], ['+Inf', count]];
    const lines = buckets.map(([le, n]) => 'modelferry_request_seconds_bucket{model="m",le="' + le + '"} ' + n);
    return response.end(['modelferry_requests_total{model="m",code="200"} ' + count, ...lines, ''].join('\\n'));
  }
  if (request.url !== '/score') return response.end();
  const beganMs = performance.now();
  setTimeout(() => {
    count += 1;
    if (performance.now() - beganMs < 100) quick += 1;
    response.end(JSON.stringify(answer));
  }, delayMs);
}).listen(Number(process.env.MODELFERRY_PORT), process.env.MODELFERRY_HOST);
process.on('SIGTERM', () => process.exit(0));
`;

test('a rollout in four stages halts each kind of bad model on the first real device, and never reaches a second ring', async () => {
  await using rig = await openRolloutRig(1);
  await addDevices(rig, { canary: 1, early: 1, rest: 2 });
  const others = ['early-0', 'rest-0', 'rest-1'];
  await rig.connect(others, () => ({ code: 200 }));
  await using _agent = startAgent(rig, 'canary-0');
  const port = await freePort();
  const file = join(rig.folder, 'rollout.yaml');
  await writeFile(file, `settings: { port: ${port} }\n`);
  const scope = "tags.ring IN ['canary', 'early', 'rest']";
  const stages = ['ring=canary bake=80s', 'ring=early bake=0s', '50% bake=0s', '100% bake=0s name=all'];
  const rollOut = async (version: number, ...more: readonly string[]) => {
    const what = ['--image', `digits:${version}`, '--file', file, '--target-condition', scope, ...more];
    const run = await runFerry(['edge', 'rollout', 'start', 'digits', ...what, '--json'], { cwd: rig.folder });
    if (run.stdout === '') throw new Error(run.stderr);
    return { code: run.code, ...(JSON.parse(run.stdout) as Halted) };
  };
  const good = await putVersion(rig, 2, '');
  expect(await rollOut(2, '--stage', '100% bake=0s')).toMatchObject({ code: 0, phase: 'done' });
  await using _callers = callAlways(port);

  for (const [index, [kind, { does, gate }]] of Object.entries(badModels).entries()) {
    const version = 3 + index;
    const bad = await putVersion(rig, version, does);
    const run = await rollOut(version, ...stages.flatMap((stage) => ['--stage', stage]), ...gate);
    expect({ ...run, kind }).toMatchObject({ kind, code: 1, phase: 'halted', stage: { number: 1, of: 4 }, touched: 1 });
    expect(run.failed).toEqual(['canary-0']);
    const tookMs = Date.parse(run.phaseSince) - Date.parse(run.startedAt);
    process.stdout.write(
      `a model that ${kind}: halted after ${tookMs / 1000} s on ${run.touched} device: ${run.reason}\n`,
    );
    expect(others.filter((id) => rig.everRan.get(id)?.has(bad))).toEqual([]);
    // It is back by itself, and scores.
    await until(() => scored(port), { timeoutMs: 30_000 });
    await until(() => reportedImage(rig) === good, { timeoutMs: 30_000 });
  }
}, 400_000);

interface Halted {
  readonly phase: string;
  readonly touched: number;
  readonly failed: readonly string[];
  readonly reason: string;
  readonly startedAt: string;
  readonly phaseSince: string;
}

/** Puts a version of the model into registry and workspace, and gives its reference. */
async function putVersion(rig: RolloutRig, version: number, does: string): Promise<string> {
  const layout = await LayoutStore.open(rig.registry.layoutDir);
  const signature = {
    inputs: [{ name: 'x', type: 'float32', shape: ['n'] }],
    outputs: [{ name: 'y', type: 'float32', shape: ['n'] }],
  };
  const sample = { input: { x: [0] }, output: { y: [1] } };
  const model = { name: 'm', version, format: 'onnx', path: '/models/m/m.onnx', signature, sample };
  const digest = await putTestImage(layout, {
    script: `${server(does)}// ${version}`,
    node: process.execPath,
    // What a container's memory limit is, for a process: it ends when it has more.
    environment: ['NODE_OPTIONS=--max-old-space-size=64'],
    service: { schemaVersion: 1, models: [model] },
  });
  await layout.putManifest('digits', String(version), await layout.readBlob(digest), mediaTypes.manifest);
  addVersion(rig, version, digest);
  return `${rig.registry.registry.host}/digits@${digest}`;
}

function startAgent(rig: RolloutRig, deviceId: string): AsyncDisposable {
  const ending = new AbortController();
  const ended = runAgent(
    {
      device: parseDeviceConnectionString(rig.hub.deviceConnectionString(deviceId)),
      stateFolder: join(rig.folder, deviceId),
      engine: 'process',
      keepModules: false,
      uploadEveryMs: 3_600_000,
      version: 'test',
      log: createLogger('agent', { level: 'silent' }),
    },
    ending.signal,
  );
  return {
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      await ended;
    },
  };
}

/** Image of the module that the real device reports to run. */
function reportedImage({ hub }: RolloutRig): unknown {
  const agent = hub.parts.registry.at({ deviceId: 'canary-0', moduleId: '$edgeAgent' });
  const modules = agent.twin.reported.value['modules'] as Record<string, { settings: { image: string } }> | undefined;
  return modules?.['digits']?.settings.image;
}

async function scored(port: number): Promise<boolean> {
  const asked = { method: 'POST', body: '{}', signal: AbortSignal.timeout(5_000) };
  const answer = await fetch(`http://127.0.0.1:${port}/score`, asked).then((found) => found.text());
  return answer === '{"y":[1]}';
}

/** Asks the module to score again and again, as those do for whom it is there. */
function callAlways(port: number): AsyncDisposable {
  const over = new AbortController();
  const calling = (async () => {
    while (!over.signal.aborted) {
      await scored(port).catch(() => undefined);
      await wait(100);
    }
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      over.abort();
      await calling;
    },
  };
}
