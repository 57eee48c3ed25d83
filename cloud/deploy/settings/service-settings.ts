import { FerryError } from '../../../shared/errors.ts';
import { defaultFiles } from '../../../shared/collect/file-settings.ts';
import type { TargetKind } from '../target.ts';
import {
  allSettings,
  type GivenSettings,
  type ServiceSettings,
  type SettingName,
  settingDefinitions,
} from './definitions.ts';
import { versionProblems } from './service-versions.ts';

// Azure ML v1, azureml-core `_model_management/_util.py`: names of services.
const namePattern = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const nameLengthMin = 3;
const nameLengthMax = 32;
/** What IoT Edge's schema and Kubernetes allow as the name of an environment variable. */
const environmentPattern = /^[^+#$\s.=]+$/;
/** Variables that the deployment sets itself, and those that the place does where it runs. */
const reservedVariables =
  /^(SERVICE_NAME|SERVICE_PATH_PREFIX|SCORING_TIMEOUT_MS|AML_MODEL_DC_(STORAGE_ENABLED|BOUNDARY)|MODELFERRY_(ACCELERATOR_(URL|MODEL|SHARE_MIN)|COLLECT_FORMAT|WORKSPACE|DATA_DIR|HOST|PORT|HEALTH_PORT|LISTEN_.*|KEYS_FILE|TLS_.*|UPLOAD_.*)|IOTEDGE_.*)$/;
/** Names in a tag's path that a query takes without quoting. */
const tagPattern = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;

/** Fills in what is not given, for a target. Nothing is checked: that is {@link settingProblems}. */
export function completeSettings(kind: TargetKind, given: GivenSettings): ServiceSettings {
  const complete = allSettings().map(([name, definition]) => {
    if (!('standard' in definition)) return [name, given[name]];
    const { standard } = definition;
    return [
      name,
      given[name] ?? (typeof standard === 'function' ? (standard as (kind: TargetKind) => unknown)(kind) : standard),
    ];
  });
  return Object.fromEntries(complete.filter(([, value]) => value !== undefined)) as ServiceSettings;
}

/** Says everything that is wrong with a name and with settings for a target, without looking at anything else. */
export function settingProblems(name: string, kind: TargetKind, given: GivenSettings): string[] {
  return [
    ...nameProblems(name),
    ...allSettings().flatMap(([setting]) => valueProblems(setting, kind, given[setting])),
    ...environmentProblems(given.env ?? {}),
    ...replicaProblems(given),
    ...pairProblems(given),
    ...(given.balance === 'connections' ? connectionProblems(given) : []),
    ...(kind === 'iotedge' ? deviceProblems(given) : []),
    ...acceleratorProblems(kind, given),
    ...versionProblems(name, given),
  ];
}

/** @throws {FerryError} SERVICE_INVALID naming all problems, where there are any */
export function refuseProblems(doing: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new FerryError('SERVICE_INVALID', `Cannot ${doing}: ${problems.join('; ')}`);
}

function nameProblems(name: string): string[] {
  if (name.length >= nameLengthMin && name.length <= nameLengthMax && namePattern.test(name)) return [];
  return [
    `the name is "${name}", ${nameLengthMin} to ${nameLengthMax} lower-case letters, digits and "-" were wanted, a letter first and no "-" last`,
  ];
}

function valueProblems(setting: SettingName, kind: TargetKind, value: unknown): string[] {
  if (value === undefined) return [];
  const { schema, label, wanted, targets } = settingDefinitions[setting];
  if (!targets.includes(kind)) {
    return [`the ${label} (${setting}) is given, which "${kind}" does not have; it is for ${targets.join(', ')}`];
  }
  return schema.safeParse(value).success ? [] : [`the ${label} is ${shown(value)}, ${wanted} was wanted`];
}

/** Texts in quotes, numbers as they are. */
function shown(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}

function environmentProblems(env: Readonly<Record<string, string>>): string[] {
  return Object.keys(env).flatMap((name) => {
    if (!environmentPattern.test(name))
      return [`the variable is "${name}", a name without +, #, $, =, "." or white space was wanted`];
    return reservedVariables.test(name)
      ? [`the variable "${name}" is given, which the deployment or the device sets`]
      : [];
  });
}

/** Azure ML v1's rules, all of which it checked in its client and again in its server (`webservice/aks.py`). */
function replicaProblems(given: GivenSettings): string[] {
  const { numReplicas, autoscaleEnabled, autoscaleMinReplicas: least, autoscaleMaxReplicas: most } = given;
  const problems: string[] = [];
  const scaling = ['autoscaleMinReplicas', 'autoscaleMaxReplicas', 'autoscaleTargetUtilization'] as const;
  const asked = scaling.filter((name) => given[name] !== undefined);
  if (numReplicas !== undefined && (autoscaleEnabled === true || asked.length > 0)) {
    problems.push(
      `both a number of replicas and scaling by load (${asked.join(', ') || 'autoscaleEnabled'}) are given, one of them was wanted`,
    );
  }
  if (autoscaleEnabled === false && asked.length > 0) {
    problems.push(`scaling by load is off and ${asked.join(', ')} is given, it was wanted to be on for that`);
  }
  if (least !== undefined && most !== undefined && least > most) {
    problems.push(`the least number of replicas is ${least} and the most ${most}, the least was wanted to be no more`);
  }
  return problems;
}

function pairProblems(given: GivenSettings): string[] {
  const { collect, collectFormat, collectFolder, tlsCertificateFile, tlsKeyFile } = given;
  const problems: string[] = [];
  const isChosen =
    (collectFormat !== undefined && collectFormat !== defaultFiles.format) ||
    (collectFolder !== undefined && collectFolder !== defaultFiles.folder);
  if (collect !== true && isChosen) {
    problems.push('a format or folder of collected rows is given, collecting was wanted to be on');
  }
  if ((tlsCertificateFile === undefined) !== (tlsKeyFile === undefined)) {
    problems.push('only one of tlsCertificateFile and tlsKeyFile is given, both were wanted');
  }
  if (given.authEnabled === true && given.tokenAuthEnabled === true) {
    problems.push('both authEnabled and tokenAuthEnabled are on, one of them was wanted');
  }
  for (const [request, limit] of [
    ['cpuCores', 'cpuCoresLimit'],
    ['memoryGb', 'memoryGbLimit'],
  ] as const) {
    const [kept, most] = [given[request], given[limit]];
    if (kept !== undefined && most !== undefined && most < kept) {
      problems.push(`${limit} is ${most}, no less than ${request}, ${kept}, was wanted`);
    }
  }
  return problems;
}

/** What a port that hands on connections cannot do. */
function connectionProblems({ engine, tlsCertificateFile }: GivenSettings): string[] {
  const isProcess = (engine ?? (process.platform === 'linux' ? 'process' : 'docker')) === 'process';
  return [
    ...(isProcess ? [] : ['connections are to be balanced among containers, processes (engine) were wanted for that']),
    ...(tlsCertificateFile === undefined
      ? []
      : ['connections are to be balanced with TLS, which ends at the port: requests were wanted for that']),
  ];
}

function acceleratorProblems(kind: TargetKind, given: GivenSettings): string[] {
  if (given.acceleratorImage !== undefined) return [];
  if (kind === 'fpga') return ['no accelerator is meant, the image of its runtime (acceleratorImage) was wanted'];
  const others = [
    'acceleratorDevices',
    'acceleratorEnv',
    'acceleratorModel',
    'acceleratorPort',
    'acceleratorShare',
  ] as const;
  const alone = others.filter((name) => given[name] !== undefined);
  return kind === 'iotedge' && alone.length > 0
    ? [`${alone.join(', ')} is given without acceleratorImage, the image of the runtime was wanted`]
    : [];
}

function deviceProblems({ deviceTags: tags, targetCondition: condition }: GivenSettings): string[] {
  if (tags !== undefined && condition !== undefined)
    return ['both device tags and a target condition are given, one of them was wanted'];
  if (tags === undefined && condition === undefined)
    return ['no device is meant, a device tag or a target condition was wanted'];
  if (condition?.trim() === '') return ['the target condition is empty, "*" for all devices was wanted'];
  return Object.keys(tags ?? {})
    .filter((key) => !tagPattern.test(key))
    .map((key) => `the device tag is "${key}", letters, digits and "_" were wanted, parts divided by "."`);
}
