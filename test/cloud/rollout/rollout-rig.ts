import { Client, type Twin } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { join } from 'node:path';
import type { Hub } from '../../../simulators/hub/hub.ts';
import { type EdgeRig, openEdgeRig } from '../edge-rig.ts';

/** What a device makes of an image: what it reports of the attempt and of the module. */
export type Behaviour = (image: string) => {
  readonly code: number;
  readonly description?: string;
  readonly restartCount?: number;
  readonly scoring?: Readonly<Record<string, number>>;
};

/** A hub with a fleet that answers each deployment by itself, and images `digits:1`, `digits:2` and so on. */
export interface RolloutRig extends EdgeRig {
  /** Reference of a version's image by digest. */
  reference(version: number): string;
  /** Connects devices that are in the hub. */
  connect(deviceIds: readonly string[], behaviour: Behaviour): Promise<void>;
  /** Images that the connected devices were last asked to run, by device; those without one are left out. */
  running(): Record<string, string>;
  /** Every image that a device was ever asked to run. */
  readonly everRan: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Opens the rig with that many versions of the image. */
export async function openRolloutRig(versions = 3): Promise<RolloutRig> {
  await using stack = new AsyncDisposableStack();
  const edge = stack.use(await openEdgeRig());
  const references = [edge.image];
  for (let version = 2; version <= versions; version += 1) {
    const digest = await edge.registry.pushImage('digits', String(version), `layer ${version}`);
    addVersion(edge, version, digest);
    references.push(`${edge.registry.registry.host}/digits@${digest}`);
  }
  const running: Record<string, string> = {};
  const everRan = new Map<string, Set<string>>();
  const caFile = join(edge.folder, 'certificates', 'ca.pem');
  const keep = stack.move();
  return {
    ...edge,
    everRan,
    reference: (version) => references[version - 1] ?? '',
    running: () => ({ ...running }),
    async connect(deviceIds, behaviour) {
      for (let at = 0; at < deviceIds.length; at += 20) {
        const some = deviceIds.slice(at, at + 20);
        await Promise.all(
          some.map(async (deviceId) => {
            const onImage = (image: string | undefined): void => {
              if (image === undefined) delete running[deviceId];
              else running[deviceId] = image;
              if (image !== undefined) everRan.set(deviceId, (everRan.get(deviceId) ?? new Set()).add(image));
            };
            keep.use(await connectDevice(edge.hub, { deviceId, caFile, behaviour, onImage }));
          }),
        );
      }
    },
    [Symbol.asyncDispose]: () => keep.disposeAsync(),
  };
}

/** Makes an image of the registry known to the workspace as a version of `digits`. */
export function addVersion({ workspace }: EdgeRig, version: number, digest: string): void {
  workspace.database
    .prepare(
      `INSERT INTO images (name, version, digest, sbom, platform, layers, description, tags, properties, created_at, modified_at)
       SELECT name, ?, ?, sbom, platform, layers, description, tags, properties, created_at, modified_at FROM images WHERE version = 1`,
    )
    .run(version, digest);
}

async function connectDevice(
  hub: Hub,
  options: {
    readonly deviceId: string;
    readonly caFile: string;
    readonly behaviour: Behaviour;
    readonly onImage: (image: string | undefined) => void;
  },
): Promise<AsyncDisposable> {
  const connectionString = `${hub.deviceConnectionString(options.deviceId)};ModuleId=$edgeAgent`;
  const client = Client.fromConnectionString(connectionString, Mqtt);
  await client.setOptions({ ca: options.caFile });
  await client.open();
  const twin = await client.getTwin();
  let attempted = -1;
  twin.on('properties.desired', () => {
    const desired = twin.properties.desired as Desired;
    if (desired.$version === attempted) return;
    attempted = desired.$version;
    const image = desired.modules?.['digits']?.settings.image;
    options.onImage(image);
    report(twin, desired.$version, image, options.behaviour);
  });
  return { [Symbol.asyncDispose]: async () => void (await client.close()) };
}

interface Desired {
  readonly $version: number;
  readonly modules?: Readonly<Record<string, { readonly settings: { readonly image: string } }>>;
}

function report(twin: Twin, version: number, image: string | undefined, behaviour: Behaviour): void {
  const { code, description = '', restartCount = 0, scoring } = behaviour(image ?? '');
  const module = { runtimeStatus: code === 200 ? 'running' : 'failed', restartCount, settings: { image } };
  twin.properties.reported['update'](
    {
      lastDesiredVersion: version,
      lastDesiredStatus: { code, description },
      modules: { digits: image === undefined ? null : module },
      ...(scoring === undefined ? {} : { scoring: { digits: scoring } }),
    },
    () => undefined,
  );
}
