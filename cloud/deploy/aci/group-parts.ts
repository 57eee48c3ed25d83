import type { ImageRegistryCredential } from '@azure/arm-containerinstance';
import { readFile } from 'node:fs/promises';
import { dockerCredentials } from '../../../shared/oci/docker-credentials.ts';
import { parseReference } from '../../../shared/oci/reference.ts';
import { grantWriting } from '../../azure/write-grant.ts';
import type { Workspace } from '../../workspace/workspace.ts';
import { appInsightsOf } from '../app-insights.ts';
import type { DesiredService } from '../deployer.ts';
import { findPublishedImage } from '../published-image.ts';
import type { ContainerGroupParts } from './container-group.ts';

/** How long a service may write what it collects before it has to be updated, in days. */
const grantDays = 365;

/**
 * Finds what a service's container group is made of.
 * @throws {FerryError} ENDPOINT_MISSING, IMAGE_NOT_FOUND, REGISTRY_UNREACHABLE, STORAGE_UNREACHABLE
 */
export async function groupParts(
  workspace: Workspace,
  { image, settings }: DesiredService,
  { location, signal }: { readonly location: string; readonly signal: AbortSignal },
): Promise<ContainerGroupParts> {
  const reference = await findPublishedImage(workspace, image, signal);
  const { host } = parseReference(reference);
  const { caFile } = workspace.config.endpoints;
  const grant = settings.collect
    ? await grantWriting(workspace, { days: grantDays, nowMs: Date.now(), signal })
    : undefined;
  return {
    image: reference,
    location,
    appInsights: settings.appInsights ? await appInsightsOf(workspace) : undefined,
    registryCredential: await registryCredential(host, settings.managedIdentity, signal),
    uploadUrl: grant?.url,
    storageCa: grant === undefined || caFile === undefined ? undefined : await readFile(caFile, 'utf8'),
  };
}

/** How Azure signs in to the registry: by an identity, or as this machine has signed in with a password. */
async function registryCredential(
  server: string,
  identity: string | undefined,
  signal: AbortSignal,
): Promise<ImageRegistryCredential | undefined> {
  if (identity !== undefined) return { server, identity };
  const found = await dockerCredentials()(server, signal);
  // Tokens end within hours, and the image has to be pulled again long after that.
  if (found?.kind !== 'password') return undefined;
  return { server, username: found.username, password: found.password };
}
