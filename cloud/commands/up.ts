import { type Command, InvalidArgumentError, Option } from 'commander';
import { join } from 'node:path';
import { fields } from '../../shared/text-layout.ts';
import { addWork, positiveInteger, type Session } from '../cli/session.ts';
import {
  LocalWorld,
  type WorldEndpoints,
  type WorldEngine,
  worldEngines,
  type WorldPart,
  worldParts,
} from '../local-world.ts';
import type { Workspace } from '../workspace/workspace.ts';

/** Where the local world's resources are said to be. */
const localRegion = 'westeurope';

interface UpFlags {
  readonly only?: readonly WorldPart[];
  readonly evaluateEvery?: number;
  readonly engine?: WorldEngine;
}

/** Makes `ferry up` run the local world, or parts of it, in the foreground until it is stopped. */
export function addUp(verb: Command): void {
  verb
    .option('--only <parts>', `start only these: ${worldParts.join(', ')}, separated by commas`, readParts)
    .option(
      '--evaluate-every <seconds>',
      'how often the IoT Hub evaluates deployments; the real one does every 300 (default: at every change)',
      positiveInteger,
    );
  verb.addOption(
    new Option(
      '--engine <engine>',
      'what runs container groups (default: Docker where it answers, else processes)',
    ).choices(worldEngines),
  );
  addWork<UpFlags>(verb, async (session, { only, evaluateEvery, engine }) => {
    const workspace = await session.openWorkspace({ orCreate: true });
    await using world = await LocalWorld.start({
      folder: join(workspace.folder, 'world'),
      layoutFolder: workspace.layoutFolder,
      only,
      evaluateEverySeconds: evaluateEvery,
      engine,
      signal: session.signal,
    });
    await keepEndpoints(workspace, world.endpoints);
    printEndpoints(session, workspace, world.endpoints);
    await world.untilStopped(session.signal);
    return undefined;
  });
}

function readParts(text: string): readonly WorldPart[] {
  return text.split(',').map((name) => {
    const part = worldParts.find((known) => known === name.trim());
    if (part !== undefined) return part;
    throw new InvalidArgumentError(`It has "${name.trim()}", ${worldParts.join(', ')} were wanted.`);
  });
}

/** What is not started stays what the workspace says it is: another registry than the local one, for example. */
async function keepEndpoints(
  workspace: Workspace,
  { registry, hub, storage, arm, caFile }: WorldEndpoints,
): Promise<void> {
  await workspace.setEndpoints(
    {
      ...workspace.config.endpoints,
      ...(registry === undefined ? {} : { registry, layoutRegistry: registry }),
      ...(hub === undefined ? {} : { hub: hub.hostName }),
      ...(storage === undefined
        ? {}
        : { storage: { blobEndpoint: storage.blobEndpoint, container: storage.container } }),
      ...(arm === undefined
        ? {}
        : { azure: { endpoint: arm.endpoint, tenant: arm.tenantId, client: arm.clientId, region: localRegion } }),
      caFile,
    },
    {
      ...(await workspace.secrets()),
      ...(hub === undefined ? {} : { hubConnectionString: hub.connectionString }),
      ...(storage === undefined ? {} : { storageConnectionString: storage.connectionString }),
      ...(arm === undefined ? {} : { azureClientSecret: arm.clientSecret }),
    },
  );
}

/** Prints at once, not at the end: whoever started it waits for this to go on. */
function printEndpoints(session: Session, workspace: Workspace, endpoints: WorldEndpoints): void {
  const { registry, hub, storage, arm, kubernetes, caFile } = endpoints;
  const text = fields({
    workspace: workspace.folder,
    registry,
    hub: hub?.hostName,
    storage: storage && `${storage.blobEndpoint}/${storage.container}`,
    azure: arm?.endpoint,
    kubernetes: kubernetes && `${kubernetes.server}  (KUBECONFIG=${kubernetes.kubeconfigFile})`,
    CA: caFile,
    '': 'Ready. Connection strings: --json, or secrets.json in the workspace. Ctrl-C stops it.',
  });
  const json = { workspace: workspace.folder, ...endpoints };
  process.stdout.write(session.json ? `${JSON.stringify(json, undefined, 2)}\n` : `${text}\n`);
}
