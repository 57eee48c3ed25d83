import { againOf, configurationsOf, type Deployment, makeDeployments } from './deployment.ts';
import { type DeviceSummary, LightProcess } from './light-process.ts';
import { Observer } from './observer.ts';
import type { FleetOptions } from './options.ts';
import { makeProfiles } from './profiles.ts';
import { countRows, type FleetReport, fleetReport, type StoredRows } from './report.ts';
import { VirtualHub } from './virtual-hub.ts';

/** When virtual time begins: any time will do, as long as it is always the same. */
const epochMs = Date.UTC(2026, 0, 5);
/** All devices are switched on within this time, and as long after that comes the first deployment, in milliseconds. */
const startWithinMs = 60_000;
/** No multiple of the time in which links come and go, lest a device always tries when its own is down. */
const uploadEveryMs = 37 * 60_000;
/** The hub looks at its own time so often while it is out, in milliseconds. */
const turnEveryMs = 1_000;
/** When the operator looks, as a share of the run: a while after the last trouble. */
const operatorLooksAt = 0.93;
/** The same key for all: nobody signs in by it. */
const key = Buffer.alloc(32).toString('base64');

/** What the hub does by itself at its time. */
interface Turn {
  readonly atMs: number;
  readonly work: () => Promise<void> | void;
}

/**
 * Runs a fleet in virtual time. The same options give the same report, whatever the machine does meanwhile.
 * @param onProgress is told how far it is, in milliseconds of the fleet's time
 */
export async function runVirtually(options: FleetOptions, onProgress: (atMs: number) => void): Promise<FleetReport> {
  const { devices, seed, durationMs, failingShare } = options;
  const profiles = makeProfiles({
    devices,
    seed,
    endMs: durationMs,
    failingShare,
    startWithinMs,
    uploadEveryMs: Math.min(uploadEveryMs, durationMs / 4),
    rowsPerHour: { min: 20, max: 120 },
    hasNetworks: true,
  });
  const plan = makeDeployments({ count: options.deployments, firstMs: 2 * startWithinMs, endMs: durationMs });
  using hub = new VirtualHub({ epochMs, s1Units: options.s1Units });
  const observer = new Observer(hub.parts, { nowMs: () => hub.nowMs });
  const ids = profiles.map((_, index) => `light-${String(index).padStart(5, '0')}`);
  hub.parts.store.together(() => {
    for (const deviceId of ids) hub.parts.registry.createDevice({ deviceId, capabilities: { iotEdge: true } });
  });
  const turns = turnsOf(options, { hub, observer, deployments: plan.deployments });
  await using light = await LightProcess.start(
    { mode: 'virtual', images: plan.images, epochMs, endMs: durationMs, turnsMs: turns.map(({ atMs }) => atMs) },
    profiles.map((profile, index) => ({
      ...profile,
      connectionString: `HostName=hub;DeviceId=${ids[index] ?? ''};SharedAccessKey=${key}`,
    })),
  );
  const summaries = await serve({ light, hub, turns, onProgress });
  const { throttles } = hub.parts;
  return fleetReport({
    options,
    observer,
    unconverged: observer.unconverged(),
    summaries,
    stored: storedRows(hub),
    throttled: throttles.refused,
    tookMs: durationMs,
  });
}

/** Answers the devices until all is over, and gives what they say of themselves. */
async function serve(of: {
  readonly light: LightProcess;
  readonly hub: VirtualHub;
  readonly turns: readonly Turn[];
  readonly onProgress: (atMs: number) => void;
}): Promise<DeviceSummary[]> {
  const { light, hub, onProgress } = of;
  const turns = [...of.turns];
  const summaries: DeviceSummary[] = [];
  for (;;) {
    const line = await light.read();
    if ('done' in line) return summaries;
    if ('summaries' in line) summaries.push(...line.summaries);
    if (!('batch' in line)) continue;
    const { atMs, requests } = line.batch;
    hub.nowMs = atMs;
    while ((turns[0]?.atMs ?? Infinity) <= atMs) await turns.shift()?.work();
    const answers = hub.answer(requests);
    await hub.parts.evaluator.settled();
    light.write({ answers, ...hub.takeNews() });
    onProgress(atMs);
  }
}

function turnsOf(
  options: FleetOptions,
  parts: { readonly hub: VirtualHub; readonly observer: Observer; readonly deployments: readonly Deployment[] },
): Turn[] {
  const { hub, observer, deployments } = parts;
  const turns = deployments.map((deployment, index): Turn => ({
    atMs: deployment.atMs,
    work: async () => {
      for (const configuration of configurationsOf(deployment, index)) hub.parts.configurations.create(configuration);
      observer.begin(deployment);
      await hub.parts.evaluator.settled();
    },
  }));
  const [last, order] = [deployments.at(-1), deployments.length - 1];
  if (last !== undefined && options.failingShare > 0) {
    turns.push({
      atMs: operatorLooksAt * options.durationMs,
      // As an operator does who sees at the end that devices have given up.
      work: async () => {
        const failed = observer.failed();
        if (failed.length > 0) hub.parts.configurations.create(againOf(last, order, failed));
        observer.deployedAgain = failed.length;
        await hub.parts.evaluator.settled();
      },
    });
  }
  const { outage } = options;
  if (outage !== undefined) {
    turns.push({ atMs: outage.atMs, work: () => hub.parts.faults.change({ outageMs: outage.forMs }) });
    for (let atMs = outage.atMs + turnEveryMs; atMs <= outage.atMs + outage.forMs + turnEveryMs; atMs += turnEveryMs) {
      turns.push({ atMs, work: () => undefined });
    }
  }
  return turns.toSorted((a, b) => a.atMs - b.atMs);
}

function storedRows(hub: VirtualHub): StoredRows {
  return new Map([...hub.blobs].map(([deviceId, blobs]) => [deviceId, countRows([...blobs.values()])]));
}
