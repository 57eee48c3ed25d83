import { modelNameProblem, parseVersionedName } from '../../../shared/model/name.ts';
import type { GivenSettings } from './definitions.ts';

/** Name of the version that is the service's own image. */
export const defaultVersion = 'default';

/** Azure ML v1's rules for the name of a version, and how many there may be beside the default one (`webservice/aks.py`). */
const namePattern = /^[a-z]([-a-z0-9]{1,30})[a-z0-9]$/;
const versionsMax = 5;
/** A version's objects have its name behind the service's, within 63 characters. */
const nameLengthMax = 63 - '-v-'.length;

/** A version of a service. */
export interface ServiceVersion {
  readonly name: string;
  /** `name:version`; undefined of the default one. */
  readonly image: string | undefined;
  /** Of all requests, how many it answers. */
  readonly percent: number;
  /** Of the requests that others answer, how many it gets a copy of. */
  readonly mirrorPercent: number;
}

type TrafficSettings = Pick<GivenSettings, 'versions' | 'traffic' | 'mirror'>;

/** Gives the versions of a service, the default one first; only that where there are no others. */
export function serviceVersions({ versions = {}, traffic = {}, mirror = {} }: TrafficSettings): ServiceVersion[] {
  const others = Object.entries(versions).map(([name, image]) => ({
    name,
    image,
    percent: Number(traffic[name] ?? 0),
    mirrorPercent: Number(mirror[name] ?? 0),
  }));
  const shared = others.reduce((sum, { percent }) => sum + percent, 0);
  return [{ name: defaultVersion, image: undefined, percent: 100 - shared, mirrorPercent: 0 }, ...others];
}

/** Says everything that is wrong with the versions of a service. */
export function versionProblems(service: string, given: TrafficSettings): string[] {
  const { versions = {}, traffic = {}, mirror = {} } = given;
  const names = Object.keys(versions);
  const known = new Set(names);
  const problems = Object.entries(versions).flatMap(([name, image]) => [
    ...(namePattern.test(name) && name !== defaultVersion
      ? []
      : [
          `the version is "${name}", 3 to 32 lower-case letters, digits and "-" were wanted, a letter first, and not "${defaultVersion}"`,
        ]),
    ...(service.length + name.length > nameLengthMax
      ? [`the names "${service}" and "${name}" are too long together, ${nameLengthMax} characters were wanted at most`]
      : []),
    ...(isImage(image) ? [] : [`the image of the version "${name}" is "${image}", NAME:VERSION was wanted`]),
  ]);
  if (names.length > versionsMax)
    problems.push(`there are ${names.length} versions, ${versionsMax} at most were wanted`);
  for (const [label, shares, allowed] of [
    ['share of traffic', traffic, new Set([...known, defaultVersion])],
    ['share of copies', mirror, known],
  ] as const) {
    for (const [name, percent] of Object.entries(shares)) {
      if (!allowed.has(name)) problems.push(`a ${label} is given for "${name}", one of the versions was wanted`);
      if (!/^\d{1,3}(\.\d{1,3})?$/.test(percent) || Number(percent) > 100)
        problems.push(`the ${label} of "${name}" is "${percent}", 0 to 100 was wanted`);
    }
  }
  const sum = names.reduce((all, name) => all + Number(traffic[name] ?? 0), 0);
  const own = traffic[defaultVersion];
  if (sum > 100 || (own !== undefined && sum + Number(own) !== 100)) {
    const whole = sum + Number(own ?? 0);
    problems.push(
      `the shares of traffic make ${whole} percent, ${own === undefined ? '100 at most were' : '100 was'} wanted`,
    );
  }
  return problems;
}

/** Puts a change of the versions over those that there are: one by one, and one that is given as nothing goes with its shares. */
export function mergeVersions(before: TrafficSettings, change: TrafficSettings): TrafficSettings {
  const versions = withoutEmpty({ ...before.versions, ...change.versions });
  const kept = (shares: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(Object.entries(shares).filter(([name]) => name in versions || change.versions?.[name] !== ''));
  // What is the default version's follows from the others, unless it is said anew.
  const { [defaultVersion]: _own, ...shares } = before.traffic ?? {};
  const merged = {
    versions,
    traffic: kept({ ...shares, ...change.traffic }),
    mirror: kept({ ...before.mirror, ...change.mirror }),
  };
  return Object.fromEntries(Object.entries(merged).filter(([, pairs]) => Object.keys(pairs).length > 0));
}

function withoutEmpty(pairs: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(pairs).filter(([, value]) => value !== ''));
}

function isImage(text: string): boolean {
  try {
    const { name, version } = parseVersionedName(text);
    return version !== undefined && modelNameProblem(name) === undefined;
  } catch {
    return false;
  }
}
