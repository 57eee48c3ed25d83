import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { allSettings, type GivenSettings } from './settings/definitions.ts';
import { settingProblems } from './settings/service-settings.ts';
import { type TargetKind, targetKinds } from './target.ts';

const inferenceSchema = z.looseObject({
  entryScript: z.string().optional(),
  sourceDirectory: z.string().nullish(),
  baseImage: z.string().nullish(),
});

const deploymentSchema = z.looseObject({ computeType: z.string() });

/** What Azure ML v1's two files come to here. */
export interface Imported {
  /** Content of a `service.yaml`, but for what the files do not know: the name and the models. */
  readonly file: {
    readonly target: string;
    readonly build?: { readonly base: string };
    readonly settings: GivenSettings;
  };
  /** What could not be taken over, a line each. */
  readonly notes: readonly string[];
}

/** What v1's files have and nobody needs here. */
const passedOver = new Set([
  'computeType',
  'containerResourceRequirements',
  'autoScaler',
  'dataCollection',
  'keys',
  'livenessProbeRequirements',
]);

/**
 * Reads Azure ML v1's `deploymentconfig.json`, and `inferenceconfig.json` where there is one.
 * @throws {FerryError} CONFIG_INVALID when they are not what v1 wrote, or the target is none
 */
export function importV1(deployment: unknown, inference?: unknown): Imported {
  const read = deploymentSchema.safeParse(deployment);
  const kind = targetKinds.find((name) => name === read.data?.computeType.toLowerCase());
  if (read.data === undefined || kind === undefined) {
    throw new FerryError(
      'CONFIG_INVALID',
      `Cannot import the deployment configuration: its computeType is "${read.data?.computeType ?? 'missing'}", local, aci or aks was wanted`,
    );
  }
  const notes: string[] = [];
  const settings = settingsOf(read.data, kind, notes);
  const build = inference === undefined ? undefined : buildOf(inference, notes);
  return { file: { target: kind, ...(build && { build }), settings }, notes };
}

function settingsOf(config: Readonly<Record<string, unknown>>, kind: TargetKind, notes: string[]): GivenSettings {
  const known = new Set<string>();
  const given: Record<string, unknown> = {};
  for (const [name, { v1, targets }] of allSettings()) {
    const value = v1 === undefined ? undefined : valueAt(config, v1);
    if (v1 === undefined || value === undefined || value === null) continue;
    known.add(v1.split('.')[0] ?? '');
    if (targets.includes(kind)) given[name] = value;
    else notes.push(`${v1} is left out: ${kind} has no such setting`);
  }
  for (const key of Object.keys(config)) {
    if (config[key] !== null && !known.has(key) && !passedOver.has(key))
      notes.push(`${key} is left out: there is no such setting`);
  }
  if (valueAt(config, 'keys.primaryKey') != null)
    notes.push('keys are left out: give them with ferry service keys set');
  // v1 said both, where one alone means something.
  if (given['autoscaleEnabled'] === false)
    for (const name of ['autoscaleMinReplicas', 'autoscaleMaxReplicas', 'autoscaleTargetUtilization'])
      delete given[name];
  const settings = given as GivenSettings;
  const problems = settingProblems('imported', kind, settings);
  if (problems.length === 0) return settings;
  throw new FerryError('CONFIG_INVALID', `Cannot import the deployment configuration: ${problems.join('; ')}`);
}

function buildOf(inference: unknown, notes: string[]): { readonly base: string } | undefined {
  const { entryScript, baseImage } = inferenceSchema.parse(inference);
  if (entryScript?.endsWith('.py')) {
    notes.push(
      `entryScript "${entryScript}" is left out: scripts are TypeScript or JavaScript here, and most models need none`,
    );
  }
  return typeof baseImage === 'string' ? { base: baseImage } : undefined;
}

function valueAt(config: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>(
      (at, key) => (typeof at === 'object' && at !== null ? (at as Record<string, unknown>)[key] : undefined),
      config,
    );
}
