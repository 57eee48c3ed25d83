import { table } from '../../shared/text-layout.ts';
import type { HubTwin } from '../azure/hub-resources.ts';
import { pairsText } from '../cli/result.ts';
import type { DeviceReport, ModuleReport } from '../deploy/iotedge/device-report.ts';
import { type DeviceStateName, runningImages, stateOf } from '../fleet/fleet-status.ts';
import type { KnowImage } from '../fleet/known-images.ts';
import { bucketTag } from '../rollout/device-bucket.ts';

/** A device for programs. */
export interface DeviceDocument {
  readonly deviceId: string;
  readonly connected: boolean;
  /** `enabled` or `disabled`. */
  readonly status: string;
  readonly state: DeviceStateName;
  readonly tags: Readonly<Record<string, unknown>>;
  /** Deployments that mean it, `Applied` or `Targeted`. */
  readonly deployments: Readonly<Record<string, string>>;
  /** When the hub last heard of it, ISO 8601; missing where it never did. */
  readonly lastActivity?: string;
  /** By module, of the image that the device says it runs: `name:version` where the workspace knows it, else its reference. */
  readonly versions?: Readonly<Record<string, string>>;
  /** The same of the image that it is to run. */
  readonly wanted?: Readonly<Record<string, string>>;
  /** By module: models in the image that runs, where the workspace knows it. */
  readonly models?: Readonly<Record<string, readonly string[]>>;
  /** Versions of its desired properties: the one that the hub has for it, and the one that it has attempted last. */
  readonly generation?: { readonly desired: number; readonly attempted: number | undefined };
  readonly outcome?: DeviceReport['outcome'];
  readonly modules?: DeviceReport['modules'];
  readonly bufferedRows?: number;
  /** ISO 8601, by the hub's clock where the device knows how far its own is off. */
  readonly lastUpload?: string;
  readonly clockSkewSeconds?: number;
  /** Why modules took their place without having run beside the one before, by module. */
  readonly unproven?: Readonly<Record<string, string>>;
}

/** Puts together what is known of a device. */
export function documentOf(twin: HubTwin, report: DeviceReport | undefined, know: KnowImage): DeviceDocument {
  const running = runningImages(report);
  const { clockSkewSeconds, lastUploadUtc, unproven } = report?.facts ?? {};
  return {
    deviceId: twin.deviceId,
    connected: twin.connectionState === 'Connected' || report?.connected === true,
    ...(report?.lastActivity === undefined ? {} : { lastActivity: report.lastActivity }),
    status: twin.status ?? 'enabled',
    state: stateOf(twin, report),
    tags: twin.tags,
    deployments: report?.deployments ?? {},
    ...(report && {
      versions: mapped(running, (image) => know(image).name),
      wanted: mapped(report.desiredImages, (image) => know(image).name),
      models: mapped(running, (image) => know(image).models),
      generation: { desired: report.desiredVersion, attempted: report.attemptedVersion },
      outcome: report.outcome,
      modules: report.modules,
      bufferedRows: report.bufferedRows,
    }),
    ...(lastUploadUtc === undefined ? {} : { lastUpload: earlier(lastUploadUtc, clockSkewSeconds ?? 0) }),
    ...(clockSkewSeconds === undefined ? {} : { clockSkewSeconds }),
    ...(unproven === undefined ? {} : { unproven }),
  };
}

/** Lists devices for people. */
export function deviceTable(devices: readonly DeviceDocument[]): string {
  const rows = devices.map((device) => [
    device.deviceId,
    device.connected ? 'yes' : 'no',
    device.state,
    tagsText(device.tags),
    appliedOf(device.deployments),
    generationText(device.generation),
    versionTexts(device).join(', '),
    Object.values(device.models ?? {})
      .flat()
      .join(', '),
    healthText(device.modules),
    device.bufferedRows ?? '',
    device.lastUpload ?? '',
    device.clockSkewSeconds === undefined ? '' : `${device.clockSkewSeconds} s`,
  ]);
  const of = ['deployment', 'generation', 'version', 'model', 'modules'];
  const heads = ['device', 'connected', 'state', 'tags', ...of, 'buffered', 'last upload', 'skew'];
  return table(heads, rows);
}

/** Lays out one device for people, but for its secrets. */
export function deviceFields(device: DeviceDocument): Readonly<Record<string, string | number | undefined>> {
  const { modules = {}, models = {}, unproven = {}, outcome, clockSkewSeconds } = device;
  const lines = (texts: readonly string[]): string | undefined => texts.join('\n') || undefined;
  const connected = device.connected ? 'yes' : `no, last seen ${device.lastActivity ?? 'never'}`;
  return {
    connected: device.status === 'enabled' ? connected : `${connected} (${device.status})`,
    state: device.state,
    versions: lines(versionTexts(device, ': ')),
    models: lines(
      Object.entries(models).flatMap(([name, ids]) => (ids.length > 0 ? `${name}: ${ids.join(', ')}` : [])),
    ),
    deployment: appliedOf(device.deployments) || undefined,
    generation: generationText(device.generation) || undefined,
    outcome: outcome && `${outcome.code} ${outcome.description}`.trim(),
    modules: lines(Object.entries(modules).map(([name, module]) => `${name}: ${moduleText(module)}`)),
    unproven: lines(Object.entries(unproven).map(([name, why]) => `${name}: ${why}`)),
    'rows on the device': device.bufferedRows,
    'last upload': device.lastUpload,
    'clock ahead of the hub': clockSkewSeconds === undefined ? undefined : `${clockSkewSeconds} s`,
  };
}

/**
 * Says which image each module runs, and which it is to run where that is another one: `digits:1`, `digits:1 (digits:2 wanted)`.
 * @param named what is put between a module's name and its image @default names are left out
 */
function versionTexts({ versions = {}, wanted = {} }: DeviceDocument, named?: string): string[] {
  return [...new Set([...Object.keys(wanted), ...Object.keys(versions)])].map((module) => {
    const [runs = 'none', wants = 'none'] = [versions[module], wanted[module]];
    const text = runs === wants ? runs : `${runs} (${wants} wanted)`;
    return named === undefined ? text : `${module}${named}${text}`;
  });
}

/** Counts modules by how they are: `2 running, 1 backoff`. */
function healthText(modules: DeviceReport['modules'] = {}): string {
  const counts = new Map<string, number>();
  for (const { runtimeStatus } of Object.values(modules)) {
    counts.set(runtimeStatus, (counts.get(runtimeStatus) ?? 0) + 1);
  }
  return [...counts].map(([status, count]) => `${count} ${status}`).join(', ');
}

/** Says how one module is: `backoff, exit code 137, restarted 3 times`. */
function moduleText({ runtimeStatus, exitCode = 0, restartCount }: ModuleReport): string {
  const exit = exitCode === 0 ? '' : `, exit code ${exitCode}`;
  return `${runtimeStatus}${exit}${restartCount === 0 ? '' : `, restarted ${restartCount} times`}`;
}

/** What a device wrote that is no time stays as it is. */
function earlier(time: string, seconds: number): string {
  const ms = Date.parse(time) - seconds * 1000;
  return Number.isNaN(ms) ? time : new Date(ms).toISOString();
}

function mapped<T>(record: Readonly<Record<string, string>>, of: (value: string) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, of(value)]));
}

/** Says which generation of its desired properties a device is at: `4`, or `3 of 4` while it has not attempted the last one. */
function generationText(generation: DeviceDocument['generation']): string {
  if (generation === undefined) return '';
  const { desired, attempted = 0 } = generation;
  return attempted === desired ? String(desired) : `${attempted} of ${desired}`;
}

/** What is said where no device is found. */
export function noDeviceText(hub: string, where: string): string {
  return where.trim() === '*' ? `The hub ${hub} has no edge device yet.` : `The hub ${hub} has no such edge device.`;
}

/** Ids of the deployments that a device runs. */
function appliedOf(deployments: Readonly<Record<string, string>>): string {
  return Object.entries(deployments)
    .filter(([, status]) => status === 'Applied')
    .map(([id]) => id)
    .join(', ');
}

/** Writes tags for people, who have no use for the bucket; those of a twin may nest. */
export function tagsText(tags: Readonly<Record<string, unknown>>): string {
  const texts = Object.entries(tags)
    .filter(([key]) => key !== bucketTag)
    .map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]);
  return pairsText(Object.fromEntries(texts) as Record<string, string>);
}
