import { join } from 'node:path';
import { Client } from 'azure-iot-device';
import { Mqtt } from 'azure-iot-device-mqtt';
import { HubClient } from '../../cloud/azure/hub-client.ts';
import { Workspace } from '../../cloud/workspace/workspace.ts';
import { openCertificates } from '../../simulators/certificates.ts';
import { type Hub, startHub } from '../../simulators/hub/hub.ts';
import { type RegistryRig, startRig as startRegistry } from '../simulators/registry/rig.ts';
import { temporaryFolder } from '../temporary-folder.ts';

/** A workspace with an image in it and in its registry, a hub that runs, and a client of it. */
export interface EdgeRig extends AsyncDisposable {
  readonly workspace: Workspace;
  readonly hub: Hub;
  readonly client: HubClient;
  readonly registry: RegistryRig;
  /** Reference of the image by digest. */
  readonly image: string;
  readonly folder: string;
  /** Connects as the agent of a device. */
  connectAgent(deviceId: string): Promise<TestAgent>;
}

/** A device's agent that reports what a test tells it to. */
export interface TestAgent extends AsyncDisposable {
  /** Reports that the desired properties of now were attempted, with this outcome and these modules. */
  report(outcome: { code: number; description?: string }, modules: Readonly<Record<string, unknown>>): Promise<void>;
  /** Images of the desired modules by name. */
  desired(): Promise<Record<string, string>>;
}

/** Opens the rig; the image is `digits:1` for linux/amd64, and the hub has one device, `elsewhere`, without tags. */
export async function openEdgeRig(): Promise<EdgeRig> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const certificates = await openCertificates(join(folder.path, 'certificates'));
  const hub = stack.use(await startHub({ certificates }));
  const registry = stack.use(await startRegistry());
  const digest = await registry.pushImage('digits', '1', 'a layer');
  stack.use(await Workspace.create(folder.path, { name: 'lab' }));
  const made = stack.use(await Workspace.open(folder.path));
  await made.setEndpoints(
    { hub: hub.hostName, registry: registry.registry.host, caFile: certificates.caFile },
    { hubConnectionString: hub.connectionStrings.iothubowner },
  );
  // Opened again, so that it trusts the CA.
  const workspace = stack.use(await Workspace.open(folder.path));
  insertImage(workspace, digest);
  const client = stack.use(await HubClient.open(workspace, AbortSignal.timeout(30_000)));
  await client.addEdgeDevice('elsewhere', {});
  const keep = stack.move();
  return {
    workspace,
    hub,
    client,
    registry,
    image: `${registry.registry.host}/digits@${digest}`,
    folder: folder.path,
    connectAgent: (deviceId) => connectAgent(hub, { deviceId, caFile: certificates.caFile }),
    [Symbol.asyncDispose]: () => keep.disposeAsync(),
  };
}

function insertImage({ database }: Workspace, digest: string): void {
  database
    .prepare(
      `INSERT INTO images (name, version, digest, platform, layers, description, tags, properties, created_at, modified_at)
       VALUES ('digits', 1, ?, 'linux/amd64', '[]', '', '{}', '{}', '2026-11-22T10:00:00.000Z', '2026-11-22T10:00:00.000Z')`,
    )
    .run(digest);
}

async function connectAgent(
  hub: Hub,
  device: { readonly deviceId: string; readonly caFile: string },
): Promise<TestAgent> {
  const connectionString = `${hub.deviceConnectionString(device.deviceId)};ModuleId=$edgeAgent`;
  const client = Client.fromConnectionString(connectionString, Mqtt);
  await client.setOptions({ ca: device.caFile });
  await client.open();
  const desired = async (): Promise<Desired> => (await client.getTwin()).properties.desired as Desired;
  return {
    async report({ code, description = '' }, modules) {
      const twin = await client.getTwin();
      const lastDesiredVersion = (twin.properties.desired as Desired).$version;
      const reported = { lastDesiredVersion, lastDesiredStatus: { code, description }, modules };
      await new Promise<void>((resolve, reject) => {
        twin.properties.reported['update'](reported, (error: Error | null) =>
          error === null ? resolve() : reject(error),
        );
      });
      await hub.settled();
    },
    async desired() {
      const modules = Object.entries((await desired()).modules ?? {});
      return Object.fromEntries(modules.map(([name, { settings }]) => [name, settings.image]));
    },
    async [Symbol.asyncDispose]() {
      await client.close();
    },
  };
}

interface Desired {
  readonly $version: number;
  readonly modules?: Readonly<Record<string, { readonly settings: { readonly image: string } }>>;
}
