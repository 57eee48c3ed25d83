import type { Command } from 'commander';
import type { CommandResult } from '../cli/result.ts';
import { fields } from '../../shared/text-layout.ts';
import { addWork } from '../cli/session.ts';
import { defaultName, Workspace } from '../workspace/workspace.ts';

interface InitOptions {
  readonly name?: string;
  readonly subscription?: string;
  readonly resourceGroup?: string;
}

/** Adds the verbs of `ferry workspace`. */
export function addWorkspaceVerbs(noun: Command): void {
  const init = noun
    .command('init')
    .description('make a workspace in this folder')
    .option('--name <name>', "the workspace's name (default: the folder's)")
    .option('--subscription <guid>', 'the Azure subscription it belongs to (default: none)')
    .option('--resource-group <name>', 'the Azure resource group it belongs to', 'local');
  addWork<InitOptions>(init, async (session, options) => {
    using workspace = await Workspace.create(session.workspaceFolder, {
      ...options,
      name: options.name ?? defaultName(session.workspaceFolder),
    });
    return describe(workspace);
  });
  addWork(noun.command('show').description('show names and endpoints'), async (session) =>
    describe(await session.openWorkspace()),
  );
}

function describe(workspace: Workspace): CommandResult {
  const { name, subscription, resourceGroup, endpoints } = workspace.config;
  return {
    json: { folder: workspace.folder, name, subscription, resourceGroup, endpoints },
    text: fields({
      workspace: name,
      folder: workspace.folder,
      subscription,
      'resource group': resourceGroup,
      registry: endpoints.registry,
      hub: endpoints.hub,
      storage: endpoints.storage && `${endpoints.storage.blobEndpoint}/${endpoints.storage.container}`,
      CA: endpoints.caFile,
    }),
  };
}
