import type { Command } from 'commander';
import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { writeDurably } from '../../shared/durable-file.ts';
import { formatDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { HubClient } from '../azure/hub-client.ts';
import type { HubConfiguration, HubDevice } from '../azure/hub-resources.ts';
import type { CommandResult } from '../cli/result.ts';
import { fields, table } from '../../shared/text-layout.ts';
import { addWork, collectPair, type Session } from '../cli/session.ts';
import { addPlan } from './edge-plan.ts';
import { withoutPasswords } from '../deploy/iotedge/deployment-content.ts';
import { deviceReportOf, deviceReportsOf } from '../deploy/iotedge/device-report.ts';
import { knownImages } from '../fleet/known-images.ts';
import { type DeviceDocument, deviceFields, deviceTable, documentOf, noDeviceText, tagsText } from './device-text.ts';
import { addFleetVerbs, addImport } from './fleet.ts';
import { addRolloutVerbs } from './rollout.ts';

interface SecretFlags {
  readonly connectionStringFile?: string;
  readonly showConnectionString?: boolean;
}

interface AddFlags extends SecretFlags {
  readonly tag?: Record<string, string>;
}

/** What is told of a device that was just added. */
interface AddedDevice {
  readonly deviceId: string;
  readonly hub: string;
  readonly tags: Readonly<Record<string, unknown>>;
}

/** Adds the verbs of `ferry edge`. */
export function addEdgeVerbs(noun: Command): void {
  addDeviceVerbs(noun.command('device').description('edge devices of the IoT Hub'));
  addDeploymentVerbs(noun.command('deployment').description('IoT Edge deployments of the IoT Hub'));
  addFleetVerbs(noun.command('fleet').description('all devices at once'));
  addRolloutVerbs(noun.command('rollout').description('an image to many devices, stage by stage, each one proven'));
  addPlan(noun);
}

function addDeviceVerbs(noun: Command): void {
  addImport(noun);
  const add = noun
    .command('add')
    .description('add an edge device')
    .argument('<id>', 'its id')
    .option('--tag <key=value>', 'a tag in its twin, may be given several times', collectPair);
  addWork<AddFlags>(addSecretFlags(add), async (session, { tag: tags = {}, ...flags }, [id = '']) => {
    if (flags.connectionStringFile !== undefined) await checkWritable(flags.connectionStringFile);
    using hub = await openHub(session);
    const device = await hub.addEdgeDevice(id, tags);
    return describeDevice(await secretOf(hub, device, flags), { deviceId: id, hub: hub.hostName, tags }, flags);
  });

  const list = noun
    .command('list')
    .description('list the edge devices and how they are')
    .option('--where <condition>', "only devices that this holds for, in the hub's own words", '*');
  addWork<{ readonly where: string }>(list, async (session, { where }) => {
    const workspace = await session.openWorkspace();
    using hub = await HubClient.open(workspace, session.signal);
    const devices = await hub.findEdgeDevices(where);
    const reports = deviceReportsOf(await hub.listEdgeAgents());
    const know = knownImages(workspace.database);
    const documents = devices.map((twin) => documentOf(twin, reports.get(twin.deviceId), know));
    if (documents.length === 0) return { json: [], text: noDeviceText(hub.hostName, where) };
    return { json: documents, text: deviceTable(documents) };
  });

  const show = noun.command('show').description('show a device and what runs on it').argument('<id>', 'its id');
  addWork<SecretFlags>(addSecretFlags(show), async (session, flags, [id = '']) => {
    const workspace = await session.openWorkspace();
    using hub = await HubClient.open(workspace, session.signal);
    const device = await hub.getDevice(id);
    const report =
      device.capabilities?.iotEdge === true ? deviceReportOf(await hub.getTwin(id, '$edgeAgent')) : undefined;
    const know = knownImages(workspace.database);
    const document = { hub: hub.hostName, ...documentOf(await hub.getTwin(id), report, know) };
    const asked = session.json || flags.showConnectionString === true || flags.connectionStringFile !== undefined;
    return describeDevice(asked ? await secretOf(hub, device, flags) : undefined, document, flags);
  });

  const remove = noun.command('remove').description('remove a device from the hub').argument('<id>', 'its id');
  addWork(remove, async (session, _flags, [id = '']) => {
    using hub = await openHub(session);
    await hub.removeDevice(id);
    return { json: { deviceId: id, hub: hub.hostName }, text: fields({ removed: id, hub: hub.hostName }) };
  });
}

function addDeploymentVerbs(noun: Command): void {
  addWork(noun.command('list').description('list the deployments, the highest priority first'), async (session) => {
    using hub = await openHub(session);
    const all = (await hub.listDeployments()).toSorted((a, b) => (b.priority ?? 0) - (a.priority ?? 0));
    const documents = all.map((deployment) => deploymentOf(deployment));
    const rows = documents.map(({ id, priority, targetCondition, systemMetrics }) => [
      id,
      priority,
      targetCondition,
      ...Object.values(countsOf(systemMetrics)),
    ]);
    if (rows.length === 0) return { json: [], text: `The hub ${hub.hostName} has no deployment yet.` };
    const headings = ['deployment', 'priority', 'condition', 'targeted', 'applied', 'successful', 'failed'];
    return { json: documents, text: table(headings, rows) };
  });

  const show = noun
    .command('show')
    .description('show a deployment, its manifest without the passwords of registries, and its metrics')
    .argument('<id>', 'its id');
  addWork(show, async (session, _flags, [id = '']) => {
    using hub = await openHub(session);
    const found = await hub.getDeployment(id);
    const { targetCondition, priority, systemMetrics, created } = deploymentOf(found);
    const manifest = withoutPasswords({ modulesContent: found.content?.modulesContent ?? {} });
    return {
      json: { ...deploymentOf(found), manifest },
      text: fields({
        deployment: id,
        condition: targetCondition,
        priority,
        ...countsOf(systemMetrics),
        created,
        manifest: JSON.stringify(manifest, undefined, 2),
      }),
    };
  });

  const remove = noun
    .command('delete')
    .description('delete a deployment from the hub; devices without another one keep what they run')
    .argument('<id>', 'its id');
  addWork(remove, async (session, _flags, [id = '']) => {
    using hub = await openHub(session);
    await hub.removeDeployment(id);
    return { json: { id, hub: hub.hostName }, text: fields({ deleted: id, hub: hub.hostName }) };
  });
}

async function openHub(session: Session): Promise<HubClient> {
  return HubClient.open(await session.openWorkspace(), session.signal);
}

function addSecretFlags(verb: Command): Command {
  return verb
    .option('--connection-string-file <file>', "write the device's connection string to this file, for its owner alone")
    .option('--show-connection-string', "print the device's connection string, which is a secret");
}

/** Gives the connection string of a device, and writes it where it is wanted. */
async function secretOf(
  hub: HubClient,
  device: HubDevice,
  { connectionStringFile: file }: SecretFlags,
): Promise<string> {
  const secret = formatDeviceConnectionString(hub.connectionStringOf(device));
  if (file !== undefined) await writeDurably(resolve(file), `${secret}\n`, { mode: 0o600 });
  return secret;
}

/** Finds out before a device is made whether its connection string could be kept. */
async function checkWritable(file: string): Promise<void> {
  await access(dirname(resolve(file)), constants.W_OK).catch((cause: unknown) => {
    const code = systemCodeOf(cause) ?? 'no access';
    throw new FerryError(
      'FILE_UNWRITABLE',
      `Cannot write "${file}": ${code}, a folder that may be written to was wanted`,
      { cause },
    );
  });
}

function describeDevice(
  connectionString: string | undefined,
  document: AddedDevice | (AddedDevice & DeviceDocument),
  { showConnectionString, connectionStringFile }: SecretFlags,
): CommandResult {
  return {
    json: { ...document, ...(connectionString === undefined ? {} : { connectionString }) },
    text: fields({
      device: document.deviceId,
      hub: document.hub,
      tags: tagsText(document.tags) || undefined,
      ...('state' in document ? deviceFields(document) : {}),
      'connection string': showConnectionString === true ? connectionString : undefined,
      'connection string file': connectionStringFile,
    }),
  };
}

function deploymentOf({ id, targetCondition, priority, systemMetrics, labels, createdTimeUtc }: HubConfiguration) {
  const counts = systemMetrics?.results ?? {};
  return {
    id,
    targetCondition: targetCondition ?? '',
    priority: priority ?? 0,
    systemMetrics: {
      targetedCount: counts['targetedCount'] ?? 0,
      appliedCount: counts['appliedCount'] ?? 0,
      reportedSuccessfulCount: counts['reportedSuccessfulCount'] ?? 0,
      reportedFailedCount: counts['reportedFailedCount'] ?? 0,
    },
    labels: labels ?? {},
    created: createdTimeUtc ?? '',
  };
}

/** The hub's four counts under shorter names, for people. */
function countsOf(metrics: ReturnType<typeof deploymentOf>['systemMetrics']) {
  const { targetedCount: targeted, appliedCount: applied, reportedSuccessfulCount, reportedFailedCount } = metrics;
  return { targeted, applied, successful: reportedSuccessfulCount, failed: reportedFailedCount };
}
