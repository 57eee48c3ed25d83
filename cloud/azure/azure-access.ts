import type { TokenCredential } from '@azure/identity';
import { FerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';

/** How Azure's resources are managed: by whom, and where. */
export interface AzureAccess {
  readonly credential: TokenCredential;
  /** Of Resource Manager, without a slash at its end. */
  readonly endpoint: string;
  readonly subscription: string;
  /** Where new resources are made, if the workspace says so. */
  readonly region: string | undefined;
}

/** Azure's public cloud. */
const publicEndpoint = 'https://management.azure.com';
/** What stands for a subscription where there is none. */
const noSubscription = '00000000-0000-0000-0000-000000000000';

/**
 * Opens the workspace's access to Azure, without a call: the application that it names, or whoever the environment signs in as
 * (`az login`, a workload identity in CI, a managed identity).
 * @throws {FerryError} ENDPOINT_MISSING when the workspace has no subscription
 */
export async function openAzure(workspace: Workspace): Promise<AzureAccess> {
  const { subscription, endpoints } = workspace.config;
  const { azure } = endpoints;
  const endpoint = (azure?.endpoint ?? publicEndpoint).replace(/\/$/, '');
  if (subscription === noSubscription && azure?.endpoint === undefined) {
    throw new FerryError('ENDPOINT_MISSING', 'Cannot reach Azure: the workspace has no subscription', {
      next: 'Name one with `ferry workspace init --subscription`, or start the local one with `ferry up`.',
    });
  }
  return { credential: await credentialOf(workspace), endpoint, subscription, region: azure?.region };
}

async function credentialOf(workspace: Workspace): Promise<TokenCredential> {
  const { endpoint, tenant, client } = workspace.config.endpoints.azure ?? {};
  const { azureClientSecret } = await workspace.secrets();
  const { ClientSecretCredential, DefaultAzureCredential } = await import('@azure/identity');
  if (tenant === undefined || client === undefined || azureClientSecret === undefined) {
    return new DefaultAzureCredential(tenant === undefined ? {} : { tenantId: tenant });
  }
  // Where Resource Manager is not Azure's own, it has the sign-in beside it.
  const elsewhere = endpoint === undefined ? {} : { authorityHost: endpoint, disableInstanceDiscovery: true };
  return new ClientSecretCredential(tenant, client, azureClientSecret, elsewhere);
}
