import type { Command } from 'commander';
import { join } from 'node:path';
import { isFerryError } from '../../shared/errors.ts';
import { fields } from '../cli/result.ts';
import { addWork, type Session } from '../cli/session.ts';
import { LocalWorld, type WorldEndpoints } from '../local-world.ts';
import { defaultName, Workspace } from '../workspace/workspace.ts';

/** Makes `ferry up` run the local world in the foreground until it is stopped. */
export function addUp(verb: Command): void {
  addWork(verb, async (session) => {
    using workspace = await openOrCreate(session);
    await using world = await LocalWorld.start({
      folder: join(workspace.folder, 'world'),
      layoutFolder: workspace.layoutFolder,
      signal: session.signal,
    });
    const { registry, hub, storage, caFile } = world.endpoints;
    await workspace.setEndpoints(
      {
        registry,
        hub: hub.hostName,
        storage: { blobEndpoint: storage.blobEndpoint, container: storage.container },
        caFile,
      },
      { hubConnectionString: hub.connectionString, storageConnectionString: storage.connectionString },
    );
    printEndpoints(session, workspace, world.endpoints);
    await world.untilStopped(session.signal);
    return undefined;
  });
}

/** The first step of a new user is this command, so it makes the workspace that it needs. */
async function openOrCreate(session: Session): Promise<Workspace> {
  try {
    return await Workspace.open(session.workspaceFolder);
  } catch (error) {
    if (!isFerryError(error, 'WORKSPACE_NOT_FOUND')) throw error;
    return Workspace.create(session.workspaceFolder, { name: defaultName(session.workspaceFolder) });
  }
}

/** Prints at once, not at the end: whoever started it waits for this to go on. */
function printEndpoints(session: Session, workspace: Workspace, endpoints: WorldEndpoints): void {
  const { registry, hub, storage, caFile } = endpoints;
  const text = fields({
    workspace: workspace.folder,
    registry,
    hub: hub.hostName,
    storage: `${storage.blobEndpoint}/${storage.container}`,
    CA: caFile,
    '': 'Ready. Connection strings: --json, or secrets.json in the workspace. Ctrl-C stops it.',
  });
  const json = { workspace: workspace.folder, ...endpoints };
  process.stdout.write(session.json ? `${JSON.stringify(json, undefined, 2)}\n` : `${text}\n`);
}
