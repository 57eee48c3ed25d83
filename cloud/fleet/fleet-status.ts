import { deviceReportsOf, type DeviceReport } from '../deploy/iotedge/device-report.ts';
import type { HubClient } from '../azure/hub-client.ts';
import type { HubTwin } from '../azure/hub-resources.ts';

/** How a device is, seen from the hub: the first of these that holds. */
export const deviceStates = ['failed', 'unhealthy', 'updating', 'offline', 'healthy', 'idle'] as const;

/** One of the ways in which a device can be. */
export type DeviceStateName = (typeof deviceStates)[number];

/** A device of the fleet, and what it is counted as. */
export interface FleetDevice {
  readonly deviceId: string;
  readonly state: DeviceStateName;
  /** Value of the tag that rings are told apart by; undefined without it. */
  readonly ring: string | undefined;
  /** Images that it says it runs, and that it is to run. */
  readonly images: readonly string[];
  readonly wanted: readonly string[];
}

/** Counts of devices. */
export interface FleetStatus {
  readonly devices: number;
  readonly byState: Readonly<Record<DeviceStateName, number>>;
  /** By ring, then state. */
  readonly byRing: Readonly<Record<string, Readonly<Record<DeviceStateName, number>>>>;
  /** By image that devices say they run, then state. */
  readonly byVersion: Readonly<Record<string, Readonly<Record<DeviceStateName, number>>>>;
  /** Devices that are to run each image. */
  readonly wanted: Readonly<Record<string, number>>;
}

/** What the ring of devices without the tag, and the version of those without a module, is called. */
const none = '-';

/** Asks the hub for all devices that a condition holds for. */
export async function readFleet(
  hub: HubClient,
  { condition, ringTag }: { readonly condition: string; readonly ringTag: string },
): Promise<FleetDevice[]> {
  const devices = await hub.findEdgeDevices(condition);
  const reports = deviceReportsOf(await hub.listEdgeAgents());
  return devices.map((twin) => {
    const report = reports.get(twin.deviceId);
    const ring = twin.tags[ringTag];
    return {
      deviceId: twin.deviceId,
      state: stateOf(twin, report),
      ring: typeof ring === 'string' ? ring : undefined,
      images: Object.values(runningImages(report)),
      wanted: Object.values(report?.desiredImages ?? {}),
    };
  });
}

/** Counts a fleet. */
export function countFleet(
  devices: readonly FleetDevice[],
  nameOf: (image: string) => string = (image) => image,
): FleetStatus {
  const byRing: Record<string, Record<DeviceStateName, number>> = {};
  const byVersion: Record<string, Record<DeviceStateName, number>> = {};
  const wantedBy: Record<string, number> = {};
  const byState = zeros();
  const versionsOf = (images: readonly string[]) => (images.length === 0 ? [none] : new Set(images.map(nameOf)));
  for (const { state, ring = none, images, wanted } of devices) {
    byState[state] += 1;
    (byRing[ring] ??= zeros())[state] += 1;
    for (const version of versionsOf(images)) (byVersion[version] ??= zeros())[state] += 1;
    for (const version of versionsOf(wanted)) wantedBy[version] = (wantedBy[version] ?? 0) + 1;
  }
  return {
    devices: devices.length,
    byState,
    byRing: sorted(byRing),
    byVersion: sorted(byVersion),
    wanted: sorted(wantedBy),
  };
}

/** Gives the images of the modules that a device says it has, by module. */
export function runningImages(report: DeviceReport | undefined): Record<string, string> {
  const entries = Object.entries(report?.modules ?? {}).flatMap(([name, { image }]): [string, string][] =>
    image === undefined ? [] : [[name, image]],
  );
  return Object.fromEntries(entries);
}

/** What a device is counted as: what is wrong before what is under way, and that before what is well. */
export function stateOf(twin: HubTwin, report: DeviceReport | undefined): DeviceStateName {
  const connected = twin.connectionState === 'Connected' || report?.connected === true;
  const wanted = Object.keys(report?.desiredImages ?? {});
  if (report === undefined || wanted.length === 0) return connected ? 'idle' : 'offline';
  const taken = report.attemptedVersion === report.desiredVersion;
  if (taken && report.outcome !== undefined && ![200, 406].includes(report.outcome.code)) return 'failed';
  const states = wanted.map((name) => report.modules[name]?.runtimeStatus);
  if (states.some((state) => state === 'failed' || state === 'dead')) return 'failed';
  if (!connected) return 'offline';
  if (!taken || states.includes(undefined)) return 'updating';
  return states.every((state) => state === 'running' || state === 'stopped') ? 'healthy' : 'unhealthy';
}

function zeros(): Record<DeviceStateName, number> {
  return { failed: 0, unhealthy: 0, updating: 0, offline: 0, healthy: 0, idle: 0 };
}

function sorted<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
