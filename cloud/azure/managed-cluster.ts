import { withDeadline } from '../../shared/deadline.ts';
import { FerryError } from '../../shared/errors.ts';
import { openAzure } from './azure-access.ts';
import { azureFailure } from './azure-failure.ts';
import type { Workspace } from '../workspace/workspace.ts';

const timeoutMs = 60_000;

/**
 * Fetches the credentials of an AKS cluster by its name, those of a user and not of an administrator. They are kept nowhere.
 * @returns a kubeconfig: a secret
 * @throws {FerryError} CONFIG_INVALID when there is no such cluster; AZURE_REFUSED, AZURE_UNAUTHORIZED, AZURE_UNREACHABLE
 */
export async function clusterKubeconfig(
  workspace: Workspace,
  options: { readonly cluster: string; readonly resourceGroup?: string | undefined; readonly signal: AbortSignal },
): Promise<string> {
  const { cluster, resourceGroup = workspace.config.resourceGroup, signal } = options;
  const { credential, subscription, endpoint } = await openAzure(workspace);
  const { ContainerServiceClient } = await import('@azure/arm-containerservice');
  const client = new ContainerServiceClient(credential, subscription, { endpoint });
  const doing = `fetch the credentials of the cluster "${cluster}" in the resource group "${resourceGroup}"`;
  try {
    const { kubeconfigs } = await withDeadline({ doing, timeoutMs, signal }, (abortSignal) =>
      client.managedClusters.listClusterUserCredentials(resourceGroup, cluster, { abortSignal }),
    );
    const [first] = kubeconfigs ?? [];
    if (first?.value !== undefined) return Buffer.from(first.value).toString();
  } catch (thrown) {
    signal.throwIfAborted();
    const known = { ResourceNotFound: 'CONFIG_INVALID', ResourceGroupNotFound: 'CONFIG_INVALID' } as const;
    throw azureFailure(thrown, { doing, endpoint, known });
  }
  throw new FerryError('AZURE_REFUSED', `Cannot ${doing}: Azure gave none`);
}
