import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger } from '../../shared/log.ts';
import { openCertificates } from '../certificates.ts';
import { startHub } from '../hub/hub.ts';
import { startStorage } from '../world/azurite.ts';
import { configurationOf, makeDeployments } from './deployment.ts';
import { type DeviceSummary, LightProcess } from './light-process.ts';
import { Observer } from './observer.ts';
import type { FleetOptions } from './options.ts';
import { makeProfiles } from './profiles.ts';
import { countRows, type FleetReport, fleetReport, type StoredRows } from './report.ts';

/** Devices that are switched on in a second: about as many as one machine signs in, with the hub on it too. */
const startedPerSecond = 100;
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
 */
export async function runReally(options: FleetOptions, onProgress: (text: string) => void): Promise<FleetReport> {
  const { devices, seed, durationMs, failingShare } = options;
  await using world = await openWorld(options);
  const { hub, storage, certificates } = world;
  const beganMs = performance.now();
  const nowMs = (): number => performance.now() - beganMs;
  const observer = new Observer(hub.parts, { nowMs });
  const uploadEveryMs = Math.max(uploadEveryMinMs, (devices / uploadsPerSecond) * 1000);
  const startWithinMs = (devices / startedPerSecond) * 1000;
  const profiles = makeProfiles({
    devices,
    seed,
    endMs: durationMs,
    failingShare,
    startWithinMs,
    uploadEveryMs,
    rowsPerHour: { min: 1_200, max: 7_200 },
    hasNetworks: false,
  });
  const ids = profiles.map((_, index) => `light-${String(index).padStart(5, '0')}`);
  for (const deviceId of ids) hub.parts.registry.createDevice({ deviceId, capabilities: { iotEdge: true } });
  const connected = new Set<string>();
  hub.parts.presence.events.on('connected', ({ deviceId }) => connected.add(deviceId));
  const plan = makeDeployments({ count: options.deployments, firstMs: 0, endMs: durationMs });
  await using light = await LightProcess.start(
    { mode: 'real', images: plan.images, caFile: certificates.caFile },
    profiles.map((profile, index) => ({
      ...profile,
      connectionString: hub.deviceConnectionString(ids[index] ?? ''),
    })),
  );
  const until = async (isDone: () => boolean, endMs: number, what: () => string): Promise<void> => {
    for (; !isDone() && nowMs() < endMs; await sleep(lookEveryMs)) onProgress(what());
  };
  await until(
    () => connected.size === devices,
    startWithinMs + connectTimeoutMs,
    () => `${connected.size} of ${devices} devices connected`,
  );
  const endMs = nowMs() + durationMs;
  for (const [index, deployment] of plan.deployments.entries()) {
    hub.parts.configurations.create(configurationOf(deployment, index + 1));
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
  const summaries = await end(light);
  const stored = await readStored(storage);
  return fleetReport({
    options,
    observer,
    unconverged,
    summaries,
    stored,
    throttled: hub.parts.throttles.refused,
    tookMs,
  });
}

/** Opens a hub and the storage account that devices send files to, in a folder of their own. */
async function openWorld({ s1Units }: FleetOptions) {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'ferry-fleet-'));
  // Also where the program ends because nobody waits for its report any more.
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  cleanup.defer(() => {
    process.off('exit', remove);
    remove();
  });
  const certificates = await openCertificates(join(folder, 'certificates'));
  const storage = cleanup.use(
    await startStorage({ folder: join(folder, 'storage'), container: 'modeldata', port: 0, certificates }),
  );
  const { blobEndpoint, accountName, accountKey } = storage;
  const hub = cleanup.use(
    await startHub({
      certificates,
      storage: { blobHost: blobEndpoint.replace('https://', ''), accountName, accountKey },
      log: createLogger('hub', { level: 'warn' }),
      ...(s1Units === undefined ? {} : { s1Units }),
    }),
  );
  const opened = cleanup.move();
  return { hub, storage, certificates, [Symbol.asyncDispose]: () => opened.disposeAsync() };
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

/** Gives the first and last row of a blob, as its name says. */
function rangeInName(name: string): readonly [number, number] {
  const [, first = '0', last = '0'] = /(\d+)-(\d+)\.jsonl$/.exec(name) ?? [];
  return [Number(first), Number(last)];
}

/** Reads off the storage account which rows there are. */
async function readStored(of: {
  readonly blobEndpoint: string;
  readonly accountName: string;
  readonly accountKey: string;
}): Promise<StoredRows> {
  const { ContainerClient, StorageSharedKeyCredential } = await import('@azure/storage-blob');
  const credential = new StorageSharedKeyCredential(of.accountName, of.accountKey);
  const container = new ContainerClient(`${of.blobEndpoint}/modeldata`, credential);
  const ranges = new Map<string, (readonly [number, number])[]>();
  for await (const { name } of container.listBlobsFlat()) {
    const [deviceId = ''] = name.split('/');
    ranges.set(deviceId, [...(ranges.get(deviceId) ?? []), rangeInName(name)]);
  }
  return new Map([...ranges].map(([deviceId, all]) => [deviceId, countRows(all)]));
}
