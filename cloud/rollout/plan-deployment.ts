import { FerryError } from '../../shared/errors.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import type { HubClient, NewDeployment } from '../azure/hub-client.ts';
import { findAcceleratorImage } from '../deploy/accelerator-image.ts';
import { mergeSettings } from '../deploy/desired-service.ts';
import { conditionOf, edgeDeployment } from '../deploy/iotedge/edge-deployment.ts';
import { parseCarriedModules } from '../deploy/iotedge/carried-modules.ts';
import { findPublishedImage } from '../deploy/published-image.ts';
import { readSecrets } from '../deploy/service-keys.ts';
import { findService, type ServiceRecord } from '../deploy/service-records.ts';
import type { GivenSettings } from '../deploy/settings/definitions.ts';
import { completeSettings, refuseProblems, settingProblems } from '../deploy/settings/service-settings.ts';
import { findImage } from '../images/image.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { attemptOf } from './attempt-of.ts';
import { rolloutsAmong } from './rollout.ts';
import type { RolloutFile } from './rollout-file.ts';
import { checkRolloutRequest, type RolloutRequest } from './rollout-request.ts';
import { freePriority } from './start-rollout.ts';

/** What a rollout that was asked for would put into the hub. */
export interface PlannedRollout {
  readonly request: RolloutRequest;
  /** Of the whole scope. */
  readonly deployment: NewDeployment;
  /** Of the image: `linux/amd64`. */
  readonly platform: string;
}

/**
 * Completes what was asked: a service that there is keeps its settings and whom it means, but for what is asked anew. Changes nothing.
 * @throws {FerryError} USAGE without an image; SERVICE_INVALID, DEPLOYMENT_INVALID or IMAGE_NOT_FOUND when it does not hold
 */
export async function planDeployment(
  { workspace, hub, signal }: { readonly workspace: Workspace; readonly hub: HubClient; readonly signal: AbortSignal },
  service: string,
  asked: RolloutFile,
): Promise<PlannedRollout> {
  if (asked.image === undefined)
    throw new FerryError('USAGE', 'Cannot roll out: no --image is given, and no file says one');
  const image = findImage(workspace.database, parseVersionedName(asked.image));
  const before = recordBefore(workspace, service);
  const scope = asked.scope ?? (before && conditionOf(before.settings)) ?? '*';
  const deployments = await hub.listDeployments();
  const priority = asked.priority ?? freePriority(deployments, before?.settings.priority ?? leastPriority);
  if (asked.settings?.['modulesFile'] !== undefined) {
    throw new FerryError(
      'SERVICE_INVALID',
      `Cannot roll "${service}" out: other modules (modulesFile) are given, a new image of what the service carries was wanted`,
      { next: `Give them to the service first: ferry service update ${service} --modules FILE` },
    );
  }
  const changed = { ...asked.settings, targetCondition: scope, priority } as GivenSettings;
  const settings = mergeSettings(before?.given ?? {}, changed);
  refuseProblems(`roll "${service}" out`, settingProblems(service, 'iotedge', settings));
  const reference = await findPublishedImage(workspace, image, signal);
  const { acceleratorImage: runtime, modulesFile } = settings;
  // What the service carries goes on being carried, as it was given.
  const { modules } = (await readSecrets(workspace, service)) ?? {};
  const request = checkRolloutRequest({
    service,
    image: `${image.name}:${image.version}`,
    reference,
    scope,
    settings,
    stages: asked.stages ?? [],
    gate: asked.gate ?? {},
  });
  return {
    request,
    platform: image.platform,
    deployment: edgeDeployment({
      name: service,
      image: reference,
      acceleratorImage: runtime && (await findAcceleratorImage(workspace, runtime, signal)),
      version: attemptOf(rolloutsAmong(deployments), service, request.image),
      carried: modules === undefined ? undefined : parseCarriedModules(modulesFile ?? '', modules),
      scope: workspace.scope,
      settings: completeSettings('iotedge', settings),
    }),
  };
}

/** The priority that a service has by itself. */
const leastPriority = 10;

/** How the service runs already: what is not asked for stays as it is. */
function recordBefore({ database }: Workspace, service: string): ServiceRecord | undefined {
  const before = findService(database, service);
  if (before === undefined || before.target.kind === 'iotedge') return before;
  throw new FerryError(
    'SERVICE_INVALID',
    `Cannot roll "${service}" out: the service runs on "${before.target.kind}", one on "iotedge" was wanted`,
  );
}
