import { FerryError } from '../../shared/errors.ts';
import { createImage } from '../images/create.ts';
import { findImage, type Image } from '../images/image.ts';
import type { ImageRequest } from '../images/image-request.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import { gitLineageOf } from '../models/git-lineage.ts';
import { registerModel, type Registration } from '../models/register.ts';
import { registerOnce } from '../models/register-once.ts';
import { registryBesideLayout } from '../workspace/registry.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { openDeployer } from './deployers.ts';
import { mergeSettings, requestProblems, type ServiceRequest } from './desired-service.ts';
import { changedFiles } from './service-files.ts';
import { findService, type ServiceRecord } from './service-records.ts';
import { createService, observeService, type ServiceOptions, type ServiceOutcome, updateService } from './services.ts';
import { refuseProblems } from './settings/service-settings.ts';
import { targetText } from './target.ts';

/** A service from its sources: what is registered, what is built of it, and how it is deployed. */
export interface PushRequest extends Omit<ServiceRequest, 'image'> {
  /** Models that are registered first, unless their latest versions are of the same bytes. */
  readonly models: readonly Registration[];
  /** An image that is there, in place of models. */
  readonly image?: string;
  /** Script and the like of the image that is built. */
  readonly build?: Pick<ImageRequest, 'script' | 'include' | 'base' | 'platform' | 'optimize' | 'flavor'>;
  /** Whether {@link settings} are all that there are to be, or go over those that the service has. */
  readonly isWhole: boolean;
}

/** What came of a push. */
export interface PushOutcome extends ServiceOutcome {
  /** Whether anything was done; else all was so before. */
  readonly changed: boolean;
  readonly image: Image;
  /** Ids of models that were registered. */
  readonly registered: readonly string[];
}

/**
 * Brings a service about from its sources: registers, builds, deploys or updates, waits until it is Healthy, and has it answer the sample.
 * The same again does nothing. When it fails, a service that was there runs on with what it had.
 * @throws {FerryError} as registering, building and deploying do
 */
export async function pushService(
  workspace: Workspace,
  request: PushRequest,
  options: ServiceOptions,
): Promise<PushOutcome> {
  const { name, target } = request;
  const current = findService(workspace.database, name);
  refuseOtherTarget(request, current);
  const keepsOthers = current !== undefined && !request.isWhole;
  const settings = keepsOthers ? mergeSettings(current.given, request.settings) : request.settings;
  // Before a model is registered for it.
  const doing = `${current === undefined ? 'create' : 'update'} the service "${name}"`;
  refuseProblems(doing, requestProblems({ ...request, settings }));
  // A target's clients take long to load: that goes on while the model is read. What is wrong with the target is told below.
  const loading = openDeployer(workspace, target, options.signal).then(
    (deployer) => deployer[Symbol.asyncDispose](),
    () => undefined,
  );
  const { image, registered } = await imageOf(workspace, request, options);
  await loading;
  const imageId = `${image.name}:${image.version}`;
  if (current === undefined) {
    options.note(`${name}: deploying ${imageId} to ${targetText(target)}`);
    const outcome = await createService(workspace, { ...request, image: imageId }, options);
    return { ...outcome, changed: true, image, registered };
  }
  const labels = labelsOf(request, current);
  const isSame =
    current.image.digest === image.digest &&
    stable(settings) === stable(current.given) &&
    Object.keys(labels).length === 0 &&
    Object.keys(request.keys ?? {}).length === 0 &&
    (await changedFiles(workspace, name, request.settings)).length === 0;
  if (isSame) {
    const status = await observeService(workspace, current, options.signal);
    if (status.state === 'Healthy') return { record: current, status, changed: false, image, registered };
  }
  options.note(`${name}: updating to ${imageId}`);
  const given = request.isWhole ? { allSettings: settings } : { settings: request.settings };
  const change = { image: imageId, ...given, ...(request.keys && { keys: request.keys }), labels };
  const outcome = await updateService(workspace, name, change, options);
  return { ...outcome, changed: true, image, registered };
}

/** Registers and builds what is not there yet, and gives the image. */
async function imageOf(
  workspace: Workspace,
  request: PushRequest,
  { note, signal }: ServiceOptions,
): Promise<Pick<PushOutcome, 'image' | 'registered'>> {
  const { name, target } = request;
  // An accelerator takes only what was checked for it.
  const build = { ...(target.kind === 'fpga' && { flavor: 'fpga' as const }), ...request.build };
  if (request.image !== undefined) {
    return { image: findImage(workspace.database, parseVersionedName(request.image)), registered: [] };
  }
  const registry = registryBesideLayout(workspace);
  const { models, registered } = await registerOnce(workspace, request.models, async (registration, unless) => {
    note(`${name}: registering ${registration.path}`);
    const lineage = await gitLineageOf(registration.path);
    // The artifact is pushed with the image.
    const pushing = registry && { registry, pushesLayerOnly: true };
    return await registerModel(workspace, { lineage, ...registration }, { ...unless, ...pushing, signal });
  });
  const imageName = models.length === 1 && build.script === undefined ? (models[0]?.name ?? name) : name;
  const { image, warnings } = await createImage(workspace, { ...build, models, name: imageName }, { signal });
  for (const warning of warnings) note(`warning: ${warning}`);
  return { image, registered };
}

function refuseOtherTarget({ name, target }: PushRequest, current: ServiceRecord | undefined): void {
  if (current === undefined || targetText(current.target) === targetText(target)) return;
  throw new FerryError(
    'SERVICE_EXISTS',
    `Cannot push the service "${name}" to ${targetText(target)}: it is on ${targetText(current.target)}, and stays there`,
    { next: 'Give it another name with --service, or delete the one that is there.' },
  );
}

/** Only what is not so already. */
function labelsOf({ tags, properties, description, isWhole }: PushRequest, current: ServiceRecord) {
  const newTags = tags !== undefined && stable(isWhole ? tags : { ...current.tags, ...tags }) !== stable(current.tags);
  const newProperties =
    properties !== undefined && stable({ ...current.properties, ...properties }) !== stable(current.properties);
  return {
    ...(newTags && (isWhole ? { setTags: tags } : { addTags: tags })),
    ...(newProperties && { addProperties: properties }),
    ...(description !== undefined && description !== current.description && { description }),
  };
}

/** The same text for the same values, in whatever order they stand. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
