import { dockerCredentials } from '../../shared/oci/docker-credentials.ts';
import { RegistryClient } from '../../shared/oci/registry-client.ts';
import type { Workspace } from './workspace.ts';

/** Gives a client of a registry that signs in as `docker login` has left it, where the registry asks. */
export function openRegistry(host: string): RegistryClient {
  return new RegistryClient(host, { credentials: dockerCredentials() });
}

/** The registry of a workspace, and what its repositories' names begin with there. */
export interface WorkspaceRegistry {
  readonly client: RegistryClient;
  /** Empty, or ends with `/`. */
  readonly prefix: string;
}

/** Gives a client of the workspace's registry, or undefined where it has none. */
export function workspaceRegistry({ config }: Workspace): WorkspaceRegistry | undefined {
  const { registry } = config.endpoints;
  if (registry === undefined) return undefined;
  const [host = '', ...prefix] = registry.split('/');
  return { client: openRegistry(host), prefix: prefix.map((part) => `${part}/`).join('') };
}

/** Gives the registry that models are to be pushed to; undefined where there is none, or where it serves the workspace's own layout. */
export function registryBesideLayout(workspace: Workspace): WorkspaceRegistry | undefined {
  const { registry, layoutRegistry } = workspace.config.endpoints;
  return registry === layoutRegistry ? undefined : workspaceRegistry(workspace);
}
