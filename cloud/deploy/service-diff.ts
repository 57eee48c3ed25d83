import type { Workspace } from '../workspace/workspace.ts';
import { parseVersionedName } from '../../shared/model/name.ts';
import { findImage } from '../images/image.ts';
import { findRegistered } from '../models/find-registered.ts';
import type { PushRequest } from './push.ts';
import { changedFiles } from './service-files.ts';
import { findService } from './service-records.ts';
import { completeSettings, refuseProblems, settingProblems } from './settings/service-settings.ts';
import { allSettings } from './settings/definitions.ts';
import { targetText } from './target.ts';

/** One thing in which a service is not as it is wanted. */
export interface Difference {
  /** `image`, `settings.port`, `tags.area`. */
  readonly what: string;
  /** Undefined where there is none. */
  readonly is: unknown;
  readonly wanted: unknown;
}

/**
 * Says in what a service differs from what is wanted of it. Touches nothing: models are read, not registered.
 * @throws {FerryError} SERVICE_INVALID naming everything that is wrong with what is wanted
 */
export async function diffService(workspace: Workspace, request: PushRequest): Promise<readonly Difference[]> {
  const { name, target, settings, tags = {}, properties = {}, description = '' } = request;
  refuseProblems(`deploy the service "${name}"`, settingProblems(name, target.kind, settings));
  const current = findService(workspace.database, name);
  const before = current === undefined ? {} : completeSettings(target.kind, current.given);
  const after = completeSettings(target.kind, settings);
  const taken = allSettings().filter(([, { targets }]) => targets.includes(target.kind));
  const found: Difference[] = [
    { what: 'target', is: current && targetText(current.target), wanted: targetText(target) },
    ...(await sourceDifferences(workspace, request, current?.image)),
    ...taken.map(([setting]) => ({
      what: `settings.${setting}`,
      is: (before as Readonly<Record<string, unknown>>)[setting],
      wanted: after[setting],
    })),
    ...(current === undefined ? [] : await changedFiles(workspace, name, settings)).map((setting) => ({
      what: `settings.${setting}`,
      is: 'the file as it was',
      wanted: 'the file as it is',
    })),
    ...pairDifferences('tags', current?.tags ?? {}, tags),
    ...Object.entries(properties).map(([key, wanted]) => ({
      what: `properties.${key}`,
      is: current?.properties[key],
      wanted,
    })),
    { what: 'description', is: current?.description ?? '', wanted: description },
  ];
  return found.filter(({ is, wanted }) => JSON.stringify(is) !== JSON.stringify(wanted));
}

function pairDifferences(
  what: string,
  is: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): Difference[] {
  const keys = new Set([...Object.keys(is), ...Object.keys(wanted)]);
  return [...keys].map((key) => ({ what: `${what}.${key}`, is: is[key], wanted: wanted[key] }));
}

async function sourceDifferences(
  workspace: Workspace,
  { image, models }: PushRequest,
  current: { readonly name: string; readonly version: number } | undefined,
): Promise<Difference[]> {
  const has = current && findImage(workspace.database, current);
  if (image !== undefined) {
    const { name, version } = findImage(workspace.database, parseVersionedName(image));
    return [{ what: 'image', is: has && `${has.name}:${has.version}`, wanted: `${name}:${version}` }];
  }
  const wanted = await Promise.all(
    models.map(async (registration) => {
      const found = await findRegistered(workspace, registration);
      return found === undefined ? `${registration.name}, a new version` : `${found.name}:${found.version}`;
    }),
  );
  return [{ what: 'models', is: has?.models.join(', '), wanted: wanted.toSorted().join(', ') }];
}
