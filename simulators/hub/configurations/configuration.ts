import { z } from 'zod';
import { HubError } from '../hub-error.ts';
import { checkId } from '../identity/identity.ts';
import { type Json, type JsonObject, isObject } from '../json.ts';
import { type Query, parseCondition, parseQuery } from '../query/parser.ts';
import { checkPatch, checkSize } from '../twins/limits.ts';

/** What a deployment sets: paths (`properties.desired`, `properties.desired.a.b`) and values, for one twin. */
export type TwinContent = Readonly<Record<string, Json>>;

/** What a configuration brings to the twins that it is for; exactly one of the three is there. */
export interface Content {
  /** For IoT Edge devices: module id → what its twin gets. */
  readonly modulesContent?: Readonly<Record<string, TwinContent>>;
  readonly deviceContent?: TwinContent;
  readonly moduleContent?: TwinContent;
}

/** A configuration (an IoT Edge deployment is one) as the hub keeps it. */
export interface Configuration {
  readonly id: string;
  readonly schemaVersion: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly content: Content;
  readonly targetCondition: string;
  readonly priority: number;
  readonly createdTimeUtc: string;
  readonly lastUpdatedTimeUtc: string;
  readonly etag: string;
  readonly metrics: Readonly<Record<string, string>>;
  /** Later ones have higher numbers; breaks ties of priority and time. */
  readonly sequence: number;
}

const metricsMax = 5;
const modulesMax = 50;
/** Keys and values of labels. @see https://learn.microsoft.com/javascript/api/azure-iothub/configuration */
const labelText = z.string().regex(/^[A-Za-z0-9\-:.+%_#*?!(),=@;']{0,128}$/);

const twinContent = z.record(z.string(), z.json());
const contentShape = z.object({
  modulesContent: z.record(z.string(), twinContent).nullish(),
  deviceContent: twinContent.nullish(),
  moduleContent: twinContent.nullish(),
});

/** What callers may send as a configuration. */
export const configurationBodySchema = z.object({
  id: z.string(),
  schemaVersion: z.string().nullish(),
  labels: z.record(labelText, labelText).nullish(),
  content: z.unknown().optional(),
  targetCondition: z.string().nullish(),
  priority: z.number().int().min(0).max(2_147_483_647).nullish(),
  metrics: z.object({ queries: z.record(z.string(), z.string()).nullish() }).nullish(),
});

/** A configuration as callers send it. */
export type ConfigurationBody = z.infer<typeof configurationBodySchema>;

/** @throws {HubError} ArgumentInvalid when the id breaks the rules */
export function checkConfigurationId(id: string): void {
  if (/^[a-z0-9\-+%_*!'.:#?(),=@$;~`]{1,128}$/.test(id)) return;
  throw new HubError(
    'ArgumentInvalid',
    `The configuration id "${id.slice(0, 140)}" is not valid: 1 to 128 lower-case letters, digits and signs but & ^ [ ] { } \\ | " < > / were wanted`,
  );
}

/**
 * Reads and checks what a configuration brings.
 * @throws {HubError} InvalidConfigurationContent
 */
export function readContent(given: unknown): Content {
  const parsed = contentShape.safeParse(given ?? {});
  if (!parsed.success) refuseContent('content is not of the wanted form');
  const { modulesContent, deviceContent, moduleContent } = parsed.data;
  const parts = [modulesContent, deviceContent, moduleContent].filter((part) => part != null);
  if (parts.length !== 1) refuseContent('exactly one of modulesContent, deviceContent and moduleContent was wanted');
  if (modulesContent != null) {
    if (Object.keys(modulesContent).length > modulesMax) refuseContent(`more than ${modulesMax} modules`);
    if (!Object.hasOwn(modulesContent, '$edgeAgent')) refuseContent('modulesContent must contain $edgeAgent');
    for (const [moduleId, content] of Object.entries(modulesContent)) {
      checkId('module', moduleId);
      checkTwinContent(moduleId, content);
    }
    return { modulesContent };
  }
  if (deviceContent != null) {
    checkTwinContent('deviceContent', deviceContent);
    return { deviceContent };
  }
  checkTwinContent('moduleContent', moduleContent ?? {});
  return { moduleContent: moduleContent ?? {} };
}

/** Says whether a deployment only adds to others: it does not set the whole of `$edgeAgent`. */
export function isLayered({ content }: Pick<Configuration, 'content'>): boolean {
  return (
    content.modulesContent !== undefined &&
    !Object.hasOwn(content.modulesContent['$edgeAgent'] ?? {}, 'properties.desired')
  );
}

/**
 * Checks a target condition.
 * @throws {HubError} InvalidConfigurationTargetCondition
 */
export function checkTargetCondition(condition: string, content: Content): void {
  const error = targetConditionError(condition, content);
  if (error !== undefined) throw new HubError('InvalidConfigurationTargetCondition', error);
}

/** Says what is wrong with a target condition, if anything is. */
export function targetConditionError(condition: string, content?: Content): string | undefined {
  if (condition.trim() === '' || condition.trim() === '*') return undefined;
  try {
    const { from } = parseCondition(condition);
    if (content?.moduleContent !== undefined && from !== 'devices.modules') {
      return 'The target condition of a module configuration must start with "from devices.modules where"';
    }
    if (content !== undefined && content.moduleContent === undefined && from !== 'devices') {
      return 'The target condition must be a condition on devices';
    }
    return undefined;
  } catch (error) {
    return error instanceof HubError ? error.message : String(error);
  }
}

/** Reads the custom metrics. @throws {HubError} InvalidConfigurationCustomMetricsQuery */
export function readMetrics(given: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const names = Object.keys(given);
  if (names.length > metricsMax) {
    throw new HubError(
      'InvalidConfigurationCustomMetricsQuery',
      `${names.length} metrics, ${metricsMax} at most are allowed`,
    );
  }
  for (const [name, query] of Object.entries(given)) {
    const error = metricError(query);
    if (error !== undefined) throw new HubError('InvalidConfigurationCustomMetricsQuery', `Metric "${name}": ${error}`);
  }
  return given;
}

/** Says what is wrong with a metric's query, if anything is. */
export function metricError(query: string): string | undefined {
  try {
    parseQuery(query) satisfies Query;
    return undefined;
  } catch (error) {
    return error instanceof HubError ? error.message : String(error);
  }
}

function checkTwinContent(name: string, content: Readonly<Record<string, unknown>>): void {
  for (const [path, value] of Object.entries(content)) {
    if (path !== 'properties.desired' && !path.startsWith('properties.desired.')) {
      refuseContent(`"${name}" sets "${path}", only properties.desired and what is in it can be set`);
    }
    if (path === 'properties.desired' && !isObject(value)) refuseContent(`"${path}" of "${name}" must be an object`);
    try {
      const nested: JsonObject = isObject(value) ? value : { value: value as Json };
      checkPatch('Properties.Desired', nested);
      checkSize('Properties.Desired', nested);
    } catch (error) {
      if (error instanceof HubError) refuseContent(`"${name}": ${error.message}`);
      throw error;
    }
  }
}

function refuseContent(why: string): never {
  throw new HubError(
    'InvalidConfigurationContent',
    `The configuration's content is not valid: ${why}`.replaceAll(';', ','),
  );
}
