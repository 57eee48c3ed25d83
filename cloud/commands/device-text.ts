import { table } from '../../shared/text-layout.ts';
import type { HubTwin } from '../azure/hub-resources.ts';
import { pairsText } from '../cli/result.ts';
import type { DeviceReport } from '../deploy/iotedge/device-report.ts';
import { type DeviceStateName, stateOf } from '../fleet/fleet-status.ts';

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
  /** By module: `name:version` of its image where the workspace knows it, else its reference. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Versions of its desired properties: the one that the hub has for it, and the one that it has attempted last. */
  readonly generation?: { readonly desired: number; readonly attempted: number | undefined };
  readonly outcome?: DeviceReport['outcome'];
  readonly modules?: DeviceReport['modules'];
  readonly bufferedRows?: number;
  /** ISO 8601, by the device's clock. */
  readonly lastUpload?: string;
  readonly clockSkewSeconds?: number;
  /** Why modules took their place without having run beside the one before, by module. */
  readonly unproven?: Readonly<Record<string, string>>;
}

/** Puts together what is known of a device. */
export function documentOf(
  twin: HubTwin,
  report: DeviceReport | undefined,
  nameOf: (image: string) => string,
): DeviceDocument {
  const images = Object.entries(report?.desiredImages ?? {}).map(([name, image]) => [name, nameOf(image)]);
  const { clockSkewSeconds, lastUploadUtc, unproven } = report?.facts ?? {};
  return {
    deviceId: twin.deviceId,
    connected: twin.connectionState === 'Connected' || report?.connected === true,
    status: twin.status ?? 'enabled',
    state: stateOf(twin, report),
    tags: twin.tags,
    deployments: report?.deployments ?? {},
    ...(report && {
      versions: Object.fromEntries(images) as Record<string, string>,
      generation: { desired: report.desiredVersion, attempted: report.attemptedVersion },
      outcome: report.outcome,
      modules: report.modules,
      bufferedRows: report.bufferedRows,
    }),
    ...(lastUploadUtc === undefined ? {} : { lastUpload: lastUploadUtc }),
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
    Object.values(device.versions ?? {}).join(', '),
    device.bufferedRows ?? '',
    device.lastUpload ?? '',
    device.clockSkewSeconds ?? '',
  ]);
  const of = ['deployment', 'generation', 'version'];
  const heads = ['device', 'connected', 'state', 'tags', ...of, 'rows', 'last upload', 'skew s'];
  return table(heads, rows);
}

/** Says which generation of its desired properties a device is at: `4`, or `3 of 4` while it has not attempted the last one. */
export function generationText(generation: DeviceDocument['generation']): string {
  if (generation === undefined) return '';
  const { desired, attempted = 0 } = generation;
  return attempted === desired ? String(desired) : `${attempted} of ${desired}`;
}

/** What is said where no device is found. */
export function noDeviceText(hub: string, where: string): string {
  return where.trim() === '*' ? `The hub ${hub} has no edge device yet.` : `The hub ${hub} has no such edge device.`;
}

/** Ids of the deployments that a device runs. */
export function appliedOf(deployments: Readonly<Record<string, string>>): string {
  return Object.entries(deployments)
    .filter(([, status]) => status === 'Applied')
    .map(([id]) => id)
    .join(', ');
}

/** Tags of a twin may nest. */
export function tagsText(tags: Readonly<Record<string, unknown>>): string {
  const texts = Object.entries(tags).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  return pairsText(Object.fromEntries(texts) as Record<string, string>);
}
