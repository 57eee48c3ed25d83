import { setTimeout as sleep } from 'node:timers/promises';
import type { Hub } from '../hub/hub.ts';
import { configurationsOf, makeDeployments } from './deployment.ts';
import { freePorts } from './free-ports.ts';
import { type DeviceSummary, LightProcess, type LightStart } from './light-process.ts';
import { Observer } from './observer.ts';
import type { FleetOptions } from './options.ts';
import { type DeviceProfile, makeProfiles } from './profiles.ts';
import { RealAgents } from './real-agents.ts';
import { RealCallers } from './real-callers.ts';
import { pushImages } from './real-images.ts';
import { realLedgers } from './real-ledgers.ts';
import { openRegistry, openWorld, readStored } from './real-world.ts';
import { type FleetReport, fleetReport } from './report.ts';

/** Devices that are switched on in a second: about as many as one machine signs in, with the hub on it too. */
const startedPerSecond = 100;
/** Devices that one process is for: it has one thread, and this many take up changes within seconds. */
const devicesPerProcess = 2_500;
/** Devices that send rows in a second, on average. */
const uploadsPerSecond = 10;
const uploadEveryMinMs = 8_000;
/** How often it is looked how far the devices are, in milliseconds. */
const lookEveryMs = 250;
/** How long all of them may take to connect beyond the time in which they are switched on, and to end, in milliseconds. */
const connectTimeoutMs = 120_000;

/**
 * Runs a fleet against an IoT Hub and a storage account of its own, by MQTT and HTTPS, in the machine's time: until all devices are as the last
 * deployment says, or the time is over.
 * @throws the signal's reason when it is aborted; what was started has ended then
 */
export async function runReally(
  options: FleetOptions,
  onProgress: (text: string) => void,
  signal: AbortSignal = new AbortController().signal,
): Promise<FleetReport> {
  const { durationMs, realAgents = 0, slowLinks = false } = options;
  await using world = await openWorld(options);
  const { hub, storage, certificates, folder } = world;
  const beganMs = performance.now();
  const nowMs = (): number => performance.now() - beganMs;
  const observer = new Observer(hub.parts, { nowMs });
  const uploadEveryMs = Math.max(uploadEveryMinMs, (options.devices / uploadsPerSecond) * 1000);
  const startWithinMs = (options.devices / startedPerSecond) * 1000;
  const profiles = profilesOf(options, { startWithinMs, uploadEveryMs });
  const light = addDevices(hub, 'light', profiles.length);
  const real = addDevices(hub, 'real', realAgents);
  const devices = light.length + real.length;
  const connected = new Set<string>();
  hub.parts.presence.events.on('connected', ({ deviceId }) => connected.add(deviceId));
  await using registry = realAgents === 0 ? undefined : await openRegistry(folder);
  const names = registry && (await pushImages(registry.host, options.deployments));
  const plan = makeDeployments({ count: options.deployments, firstMs: 0, endMs: durationMs, images: names });
  await using lights = await startLights(
    { mode: 'real', images: plan.images, caFile: certificates.caFile, slowLinks },
    profiles.map((profile, index) => ({ ...profile, connectionString: light[index]?.connectionString ?? '' })),
  );
  await using agents = new RealAgents(real, { folder, caFile: certificates.caFile, uploadEveryMs });
  const free = await freePorts(real.length);
  const ports = new Map(real.map(({ deviceId }, index) => [deviceId, free[index] ?? 0]));
  await using callers = new RealCallers(ports);
  const until = async (isDone: () => boolean, endMs: number, what: () => string): Promise<void> => {
    for (; !isDone() && nowMs() < endMs; await sleep(lookEveryMs, undefined, { signal })) onProgress(what());
  };
  await until(
    () => connected.size === devices,
    startWithinMs + connectTimeoutMs,
    () => `${connected.size} of ${devices} devices connected`,
  );
  const endMs = nowMs() + durationMs;
  for (const [index, deployment] of plan.deployments.entries()) {
    for (const configuration of configurationsOf(deployment, index, ports)) {
      hub.parts.configurations.create(configuration);
    }
    observer.begin(deployment);
    const { convergedMs } = observer.progress.at(-1) ?? { convergedMs: new Map() };
    await until(
      () => convergedMs.size === devices,
      endMs,
      () => `${deployment.id}: ${convergedMs.size} of ${devices} devices`,
    );
  }
  // Once around, all devices have sent what they have collected.
  await until(
    () => false,
    Math.min(endMs, nowMs() + uploadEveryMs),
    () => 'sending what is collected',
  );
  const tookMs = nowMs();
  const unconverged = observer.unconverged();
  await callers[Symbol.asyncDispose]();
  const [summaries] = await Promise.all([Promise.all(lights.processes.map(end)), agents.end()]);
  await hub.settled();
  return fleetReport({
    options,
    observer,
    unconverged,
    summaries: summaries.flat(),
    stored: await readStored(storage),
    throttled: hub.parts.throttles.refused,
    real: realLedgers(
      hub,
      real.map(({ deviceId }) => deviceId),
    ).map((ledger) => ({ ...ledger, answered: callers.answered.get(ledger.deviceId) ?? 0 })),
    tookMs,
  });
}

/** Starts the light devices, in as many processes as they take. */
async function startLights(start: LightStart, devices: Parameters<typeof LightProcess.start>[1]) {
  await using cleanup = new AsyncDisposableStack();
  const processes: LightProcess[] = [];
  for (let at = 0; at < devices.length; at += devicesPerProcess) {
    processes.push(cleanup.use(await LightProcess.start(start, devices.slice(at, at + devicesPerProcess))));
  }
  const started = cleanup.move();
  return { processes, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

function profilesOf(
  { devices, seed, durationMs, failingShare, slowLinks = false }: FleetOptions,
  { startWithinMs, uploadEveryMs }: { readonly startWithinMs: number; readonly uploadEveryMs: number },
): DeviceProfile[] {
  return makeProfiles({
    devices,
    seed,
    endMs: durationMs,
    failingShare,
    startWithinMs,
    uploadEveryMs,
    rowsPerHour: { min: 1_200, max: 7_200 },
    hasNetworks: slowLinks,
  });
}

/** Adds devices to the hub, and gives how they sign in. */
function addDevices(
  hub: Hub,
  name: string,
  count: number,
): { readonly deviceId: string; readonly connectionString: string }[] {
  return Array.from({ length: count }, (_, index) => {
    const deviceId = `${name}-${String(index).padStart(5, '0')}`;
    hub.parts.registry.createDevice({ deviceId, capabilities: { iotEdge: true } });
    return { deviceId, connectionString: hub.deviceConnectionString(deviceId) };
  });
}

/** Tells the devices to end, and gives what they say of themselves. */
async function end(light: LightProcess): Promise<DeviceSummary[]> {
  light.write({ stop: true });
  const summaries: DeviceSummary[] = [];
  for (;;) {
    const line = await light.read();
    if ('done' in line) return summaries;
    if ('summaries' in line) summaries.push(...line.summaries);
  }
}
