import { mkdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { openEngine } from '../../../shared/containers/open-engine.ts';
import { digestOf } from '../../../shared/digest.ts';
import { writeDurably } from '../../../shared/durable-file.ts';
import { FerryError } from '../../../shared/errors.ts';
import { createLogger } from '../../../shared/log.ts';
import { LayoutStore } from '../../../shared/oci/layout-store.ts';
import type { Workspace } from '../../workspace/workspace.ts';
import type {
  Deployer,
  DeployerContext,
  DeployPlan,
  Deployment,
  DesiredService,
  ServiceLogOptions,
} from '../deployer.ts';
import { appInsightsOf, appInsightsVariable } from '../app-insights.ts';
import { credentialFor } from '../service-call.ts';
import { callersFile } from '../service-keys.ts';
import type { ServiceRecord } from '../service-records.ts';
import type { ServiceStatus } from '../service-state.ts';
import type { ServiceSettings } from '../settings/definitions.ts';
import { scoringEnvironment } from '../scoring-environment.ts';
import { hostLogs, hostStatus, stopHost, wakeHost } from './host-client.ts';
import { engineOwner } from './host-place.ts';
import { desiredFile, type HostDesired, type ReplicaRange } from './host-state.ts';
import { freePort } from './free-port.ts';

/** Where a service of this machine is. */
const placeSchema = z.object({
  folder: z.string(),
  host: z.string(),
  port: z.number(),
  revision: z.string(),
  engine: z.enum(['docker', 'process']),
  isTls: z.boolean(),
  balance: z.enum(['requests', 'connections']).default('requests'),
});

type Place = z.infer<typeof placeSchema>;

/** Digits of a revision. */
const revisionDigits = 12;
const gigabyte = 1_073_741_824;
/** How often it is looked for new lines of a log, in milliseconds. */
const followMs = 300;
/** Lines of a replica that are remembered, to tell new ones from those of the look before. */
const rememberedMax = 2_000;
/** For how many days a service may write to the storage; each update signs anew. */
const uploadDays = 365;

/** Opens the deployer of this machine. */
export async function openLocal({ workspace, signal }: DeployerContext): Promise<Deployer> {
  return {
    async check(desired, current) {
      const before = current === undefined ? undefined : placeSchema.parse(current.deployment);
      await telemetryOf(workspace, desired);
      const { engine } = hostDesired(workspace, desired, { port: 0 }).replica;
      const { balance } = desired.settings;
      if (before !== undefined && before.engine !== engine) throw stays(desired.name, 'engine', before.engine, engine);
      if (before !== undefined && before.balance !== balance)
        throw stays(desired.name, 'balancing', before.balance, balance);
    },
    async plan(desired, current) {
      const port = await portOf(desired, current);
      const appInsights = await telemetryOf(workspace, desired);
      return planOf(hostDesired(workspace, desired, { port, appInsights }), current);
    },
    async apply(desired, current, { note }) {
      const port = await portOf(desired, current);
      const uploadUrl = desired.settings.collect ? await uploadUrlOf(workspace, note, signal) : undefined;
      const { caFile } = workspace.config.endpoints;
      const storageCa = uploadUrl === undefined || caFile === undefined ? undefined : await readFile(caFile, 'utf8');
      const appInsights = await telemetryOf(workspace, desired);
      const wanted = hostDesired(workspace, desired, { port, uploadUrl, storageCa, appInsights });
      const folder = folderOf(workspace, desired.name);
      await mkdir(join(folder, 'data'), { recursive: true });
      await writeDurably(join(folder, desiredFile), JSON.stringify(wanted), { mode: 0o600 });
      await wakeHost(folder, signal);
      return placeOf(folder, wanted);
    },
    observe: (record) => observeLocal(record, signal),
    logs: (record, options) => followLogs(record, options),
    async remove({ name, deployment }) {
      const { folder, engine } = placeSchema.parse(deployment);
      // The host does it with its replicas drained; where it is gone, what it has left is removed from here.
      if (!(await stopHost(folder, signal))) await removeLeft(workspace, { folder, engine });
      await rm(folder, { recursive: true, force: true });
      return [`the replicas of "${name}" and their port`, `the folder "${folder}"`];
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

function stays(service: string, what: string, is: string, wanted: string): FerryError {
  return new FerryError(
    'SERVICE_INVALID',
    `Cannot update the service "${service}": its ${what} is ${is} and stays so, "${wanted}" was wanted`,
    { next: `Delete it first: ferry service delete ${service}` },
  );
}

/** What a host is told beside the service itself. */
interface HostParts extends Pick<HostDesired, 'port' | 'uploadUrl' | 'storageCa'> {
  /** Connection string of Application Insights, where the service is to have it. */
  readonly appInsights?: string | undefined;
}

/** Says all that the host of a service is told. */
function hostDesired(
  { layoutFolder, config }: Pick<Workspace, 'layoutFolder' | 'config'>,
  desired: DesiredService,
  { port, uploadUrl, storageCa, appInsights }: HostParts,
): HostDesired {
  const { name, image, settings, secrets, sample } = desired;
  const {
    hostAddress,
    maxConcurrentRequests,
    maxQueueWaitMs,
    scoringTimeoutMs,
    memoryGbLimit,
    cpuCoresLimit,
    balance,
  } = settings;
  const callers = callersFile(settings, secrets);
  const { credential } = credentialFor(desired, secrets);
  const wanted = {
    service: name,
    layoutFolder,
    replica: {
      image: image.digest,
      engine: settings.engine ?? (process.platform === 'linux' ? ('process' as const) : ('docker' as const)),
      environment: {
        ...scoringEnvironment(desired),
        ...(appInsights === undefined ? {} : { [appInsightsVariable]: appInsights }),
      },
      ...(memoryGbLimit === undefined ? {} : { memoryBytes: Math.round(memoryGbLimit * gigabyte) }),
      ...(cpuCoresLimit === undefined ? {} : { nanoCpus: Math.round(cpuCoresLimit * 1e9) }),
      hasCallers: callers !== undefined,
      hasUpload: settings.collect && config.endpoints.storage !== undefined,
      ...(balance === 'connections' ? { listensAt: { host: hostAddress, port } } : {}),
    },
    replicas: replicasOf(settings),
    host: hostAddress,
    port,
    concurrentMax: maxConcurrentRequests,
    queueWaitMs: maxQueueWaitMs,
    scoringTimeoutMs,
    ...(callers === undefined ? {} : { callers }),
    ...(secrets.tls === undefined || settings.tlsCertificateFile === undefined ? {} : { tls: secrets.tls }),
    ...(sample === undefined ? {} : { sample }),
  };
  // Tokens and signatures are made anew each time, and are no change.
  const revision = digestOf(JSON.stringify(wanted)).slice('sha256:'.length, 'sha256:'.length + revisionDigits);
  return {
    ...wanted,
    revision,
    ...(credential === undefined ? {} : { credential }),
    ...(uploadUrl === undefined ? {} : { uploadUrl }),
    ...(storageCa === undefined ? {} : { storageCa }),
  };
}

/** Where traces and logs go. @throws {FerryError} ENDPOINT_MISSING when they are wanted and the workspace has no such place */
async function telemetryOf(workspace: Workspace, { settings }: DesiredService): Promise<string | undefined> {
  return settings.appInsights ? await appInsightsOf(workspace) : undefined;
}

function replicasOf(settings: ServiceSettings): ReplicaRange {
  const { numReplicas, autoscaleMinReplicas, autoscaleMaxReplicas } = settings;
  const isScaled =
    settings.autoscaleEnabled ?? (autoscaleMinReplicas !== undefined || autoscaleMaxReplicas !== undefined);
  const least = isScaled ? (autoscaleMinReplicas ?? 1) : (numReplicas ?? 1);
  return {
    least,
    most: isScaled ? Math.max(autoscaleMaxReplicas ?? availableParallelism(), least) : least,
    targetUtilization: settings.autoscaleTargetUtilization ?? 70,
    refreshSeconds: settings.autoscaleRefreshSeconds ?? 1,
    downSeconds: settings.autoscaleDownSeconds ?? 60,
  };
}

/** The port that was asked for, else the one that it has, else any. */
async function portOf({ settings }: DesiredService, current: ServiceRecord | undefined): Promise<number> {
  if (settings.port !== undefined) return settings.port;
  const before = current === undefined ? undefined : placeSchema.parse(current.deployment);
  return before?.port ?? freePort(settings.hostAddress);
}

async function uploadUrlOf(
  workspace: Workspace,
  note: (line: string) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (workspace.config.endpoints.storage === undefined) {
    note('The workspace has no storage: collected rows stay on this machine until it has, and the service is updated.');
    return undefined;
  }
  const { grantWriting } = await import('../../azure/write-grant.ts');
  return (await grantWriting(workspace, { days: uploadDays, nowMs: Date.now(), signal })).url;
}

function placeOf(folder: string, { host, port, revision, replica, tls }: HostDesired): Deployment {
  const balance = replica.listensAt === undefined ? 'requests' : 'connections';
  return { folder, host, port, revision, engine: replica.engine, isTls: tls !== undefined, balance } satisfies Place;
}

function planOf(wanted: HostDesired, current: ServiceRecord | undefined): DeployPlan {
  const { callers: _secret, credential: _token, uploadUrl: _signed, storageCa: _ca, tls, ...shown } = wanted;
  const { environment } = wanted.replica;
  const hidden = Object.hasOwn(environment, appInsightsVariable) ? { [appInsightsVariable]: '(secret)' } : {};
  const replica = { ...wanted.replica, environment: { ...environment, ...hidden } };
  const before = current === undefined ? undefined : placeSchema.parse(current.deployment).revision;
  const { least, most } = wanted.replicas;
  const many = least === most ? `${least}` : `${least} to ${most}`;
  const verb = before === undefined ? 'run' : 'replace one by one, until there are';
  const steps =
    before === wanted.revision
      ? []
      : [`${verb} ${many} replicas of ${wanted.replica.image} behind ${wanted.host}:${wanted.port}`];
  return { steps, documents: [{ ...shown, replica, tls: tls === undefined ? 'off' : 'on' }] };
}

async function observeLocal({ deployment, name }: ServiceRecord, signal: AbortSignal): Promise<ServiceStatus> {
  const place = placeSchema.parse(deployment);
  const status = await hostStatus(place.folder, signal);
  if (status === undefined) {
    const reason = `its background program does not run any more: \`ferry service update ${name}\` starts it again`;
    return { state: 'Failed', reason, instances: [] };
  }
  const instances = status.replicas.map(({ name, state, reason, ...details }) => ({
    name,
    state,
    ...(reason === undefined ? {} : { reason }),
    details,
  }));
  const { state, reason } =
    status.revision === place.revision ? status : { state: 'Transitioning' as const, reason: 'its host is being told' };
  return { state, ...(reason === undefined ? {} : { reason }), address: addressOf(place), instances };
}

function addressOf({ host, port, isTls }: Place): string {
  const reached = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `${isTls ? 'https' : 'http'}://${isIPv6(reached) ? `[${reached}]` : reached}:${port}`;
}

async function* followLogs(
  { name, deployment }: ServiceRecord,
  { tail, follow, signal }: ServiceLogOptions,
): AsyncGenerator<string> {
  const { folder } = placeSchema.parse(deployment);
  const seen = new Map<string, Set<string>>();
  for (let sinceMs = 0; ;) {
    const lookedAtMs = Date.now();
    const logs = await hostLogs(folder, { tail, sinceMs }, signal);
    if (logs === undefined) {
      throw new FerryError(
        'SERVICE_FAILED',
        `Cannot read the log of "${name}": its background program does not run any more`,
        {
          next: `Its own log: ${join(folder, 'host.log')}`,
        },
      );
    }
    for (const [replica, text] of Object.entries(logs)) {
      const before = seen.get(replica) ?? new Set();
      const lines = text.split('\n').filter((line) => line !== '');
      for (const line of lines) if (!before.has(line)) yield `${replica} ${line}`;
      seen.set(replica, new Set(lines.slice(-rememberedMax)));
    }
    if (!follow) return;
    // A little before, since a line is written after the time that stands in it.
    sinceMs = lookedAtMs - 1_000;
    await sleep(followMs, undefined, { signal });
  }
}

async function removeLeft(
  { layoutFolder }: Workspace,
  { folder, engine: kind }: Pick<Place, 'folder' | 'engine'>,
): Promise<void> {
  const layout = await LayoutStore.open(layoutFolder);
  const log = createLogger('ferry', { level: 'warn' });
  await using engine = await openEngine({ engine: kind, layout, folder, owner: engineOwner(folder), log });
  for (const { name } of await engine.list()) {
    await engine.stop(name, { graceMs: 5_000 });
    await engine.remove(name);
  }
}

function folderOf({ folder }: Workspace, service: string): string {
  return join(folder, 'local', service);
}
