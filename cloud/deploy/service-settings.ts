import { isIP } from 'node:net';
import { defaultFiles, type FileSettings } from '../../shared/collect/file-settings.ts';
import { FerryError } from '../../shared/errors.ts';

/** What the user asks of a service on IoT Edge. */
export interface EdgeServiceRequest {
  readonly name: string;
  /** `name` or `name:version`; the latest version without one. */
  readonly image: string;
  /** Tags that a device must have. */
  readonly deviceTags?: Readonly<Record<string, string>>;
  /** Condition on devices in the hub's own words, in place of tags. */
  readonly targetCondition?: string;
  /** @default 10 */
  readonly priority?: number;
  /** Port of the device that the service answers on. @default 5001 */
  readonly port?: number;
  /** Address of the device that the port is bound to. @default '127.0.0.1' */
  readonly hostAddress?: string;
  /** Whether inputs and predictions are collected. @default false */
  readonly collect?: boolean;
  /** How collected rows become files; only where they are collected. @default CSV, a folder a day */
  readonly collectFiles?: Partial<FileSettings>;
  readonly env?: Readonly<Record<string, string>>;
  /** Megabytes (2^20 bytes) that the module may use. @default no limit */
  readonly memoryMb?: number;
  readonly tags?: Readonly<Record<string, string>>;
  readonly description?: string;
}

/** The settings of a service on IoT Edge, checked and complete. */
export interface EdgeServiceSettings {
  readonly targetCondition: string;
  readonly priority: number;
  readonly port: number;
  readonly hostAddress: string;
  readonly collect: boolean;
  readonly collectFiles: FileSettings;
  readonly env: Readonly<Record<string, string>>;
  readonly memoryMb: number | undefined;
}

// Azure ML v1, azureml-core `_model_management/_util.py`: names of services.
const namePattern = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const nameLengthMin = 3;
const nameLengthMax = 32;
/** What IoT Edge's schema allows as the name of an environment variable. */
const environmentPattern = /^[^+#$\s.]+$/;
/** Variables that the deployment sets itself, and those that the device does. */
const reservedVariables =
  /^(SERVICE_NAME|AML_MODEL_DC_(STORAGE_ENABLED|BOUNDARY)|MODELFERRY_COLLECT_FORMAT|MODELFERRY_WORKSPACE|MODELFERRY_(DATA_DIR|HOST|PORT)|IOTEDGE_.*)$/;
/** Names in a tag's path that a query takes without quoting. */
const tagPattern = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/;
/** The scoring server does not start with less. */
const memoryMbMin = 64;

/**
 * Checks what was asked and fills in what was not, without looking at anything else.
 * @throws {FerryError} SERVICE_INVALID naming everything that is wrong
 */
export function edgeServiceSettings(request: EdgeServiceRequest): EdgeServiceSettings {
  const { name, deviceTags, targetCondition, env = {}, memoryMb } = request;
  const { priority = 10, port = 5001, hostAddress = '127.0.0.1', collect = false } = request;
  const { collectFiles = {} } = request;
  const problems = [
    nameProblem(name),
    ...targetProblems(deviceTags, targetCondition),
    ...environmentProblems(env),
    Number.isSafeInteger(priority) && priority >= 0
      ? undefined
      : `the priority is ${priority}, a whole number from 0 was wanted`,
    port >= 1 && port <= 65_535 ? undefined : `the port is ${port}, 1 to 65535 was wanted`,
    isIP(hostAddress) > 0 ? undefined : `the host address is "${hostAddress}", an IP address was wanted`,
    collect || Object.keys(collectFiles).length === 0
      ? undefined
      : 'a format or folder of collected rows is given, collecting was wanted to be on',
    memoryMb === undefined || memoryMb >= memoryMbMin
      ? undefined
      : `the memory is ${memoryMb} MB, ${memoryMbMin} at least was wanted`,
  ].filter((problem) => problem !== undefined);
  if (problems.length > 0) {
    throw new FerryError('SERVICE_INVALID', `Cannot create the service "${name}": ${problems.join('; ')}`);
  }
  const condition = targetCondition?.trim() ?? tagCondition(deviceTags ?? {});
  const files = { ...defaultFiles, ...collectFiles };
  return { targetCondition: condition, priority, port, hostAddress, collect, collectFiles: files, env, memoryMb };
}

/** Writes the condition that holds for the devices with all of these tags: `tags.site='lab' AND tags.line='3'`. */
export function tagCondition(tags: Readonly<Record<string, string>>): string {
  return Object.entries(tags)
    .map(([key, value]) => `tags.${key}='${value.replaceAll(/['\\]/g, String.raw`\$&`)}'`)
    .join(' AND ');
}

function nameProblem(name: string): string | undefined {
  return name.length >= nameLengthMin && name.length <= nameLengthMax && namePattern.test(name)
    ? undefined
    : `the name is "${name}", ${nameLengthMin} to ${nameLengthMax} lower-case letters, digits and "-" were wanted, a letter first and no "-" last`;
}

function targetProblems(tags: Readonly<Record<string, string>> | undefined, condition: string | undefined): string[] {
  if (tags !== undefined && condition !== undefined)
    return ['both device tags and a target condition are given, one of them was wanted'];
  if (tags === undefined && condition === undefined)
    return ['no device is meant, a device tag or a target condition was wanted'];
  if (condition?.trim() === '') return ['the target condition is empty, "*" for all devices was wanted'];
  return Object.keys(tags ?? {})
    .filter((key) => !tagPattern.test(key))
    .map((key) => `the device tag is "${key}", letters, digits and "_" were wanted, parts divided by "."`);
}

function environmentProblems(env: Readonly<Record<string, string>>): string[] {
  return Object.keys(env).flatMap((name) => {
    if (!environmentPattern.test(name))
      return [`the variable is "${name}", a name without +, #, $, "." or white space was wanted`];
    return reservedVariables.test(name)
      ? [`the variable "${name}" is given, which the deployment or the device sets`]
      : [];
  });
}
