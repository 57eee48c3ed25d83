import { readFile } from 'node:fs/promises';
import { grantWriting } from '../../azure/write-grant.ts';
import { findImage } from '../../images/image.ts';
import { parseVersionedName } from '../../../shared/model/name.ts';
import type { Workspace } from '../../workspace/workspace.ts';
import { findAcceleratorImage } from '../accelerator-image.ts';
import { appInsightsOf } from '../app-insights.ts';
import type { DesiredService } from '../deployer.ts';
import { findPublishedImage } from '../published-image.ts';
import { serviceVersions } from '../settings/service-versions.ts';
import type { ObjectPlace } from './service-objects.ts';

/** How long a service may write what it collects before it has to be updated, in days. */
const grantDays = 365;

/**
 * Finds what a service's objects are made of. The signature for storage is a new one each time.
 * @throws {FerryError} ENDPOINT_MISSING, IMAGE_NOT_FOUND, REGISTRY_UNREACHABLE, STORAGE_UNREACHABLE
 */
export async function serviceParts(
  workspace: Workspace,
  { image, settings }: DesiredService,
  { namespace, signal }: { readonly namespace: string; readonly signal: AbortSignal },
): Promise<ObjectPlace> {
  const { acceleratorImage, collect, appInsights } = settings;
  const { caFile } = workspace.config.endpoints;
  const others = serviceVersions(settings).flatMap((version) =>
    version.image === undefined ? [] : [{ name: version.name, image: version.image }],
  );
  const [own, runtime, grant, versionImages] = await Promise.all([
    findPublishedImage(workspace, image, signal),
    acceleratorImage === undefined ? undefined : findAcceleratorImage(workspace, acceleratorImage, signal),
    collect ? grantWriting(workspace, { days: grantDays, nowMs: Date.now(), signal }) : undefined,
    Promise.all(
      others.map(async (version): Promise<[string, string]> => {
        const found = findImage(workspace.database, parseVersionedName(version.image));
        return [version.name, await findPublishedImage(workspace, found, signal)];
      }),
    ),
  ]);
  return {
    namespace,
    image: own,
    acceleratorImage: runtime,
    versionImages: Object.fromEntries(versionImages),
    uploadUrl: grant?.url,
    storageCa: grant === undefined || caFile === undefined ? undefined : await readFile(caFile, 'utf8'),
    appInsights: appInsights ? await appInsightsOf(workspace) : undefined,
  };
}
