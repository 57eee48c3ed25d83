import { HubError } from '../hub-error.ts';
import { type Json, type JsonObject, isObject } from '../json.ts';
import type { Twin } from './twin.ts';

/** What marks an object of a device twin as a component. @see https://learn.microsoft.com/azure/iot/concepts-convention */
const componentMark = '__t';

/** One step of a JSON Patch (RFC 6902). */
export interface PatchStep {
  readonly op: 'add' | 'replace' | 'remove';
  readonly path: string;
  readonly value?: Json | undefined;
}

/**
 * Gives a device's twin as IoT Plug and Play shows it: the values that the device reports, by component, and beside them what
 * is desired and how far the device has come with it.
 * @see https://learn.microsoft.com/azure/iot/concepts-digital-twin
 */
export function digitalTwinOf(deviceId: string, { desired, reported, modelId }: Twin): Record<string, unknown> {
  const names = namesOf(desired.value, reported.value);
  const isComponent = (name: string): boolean =>
    isMarked(own(desired.value, name)) || isMarked(own(reported.value, name));
  const components = names.filter(isComponent).map((name) => {
    const level = levelOf({
      desired: inner(desired.value, name),
      reported: inner(reported.value, name),
      desiredMetadata: inner(desired.metadata, name),
      reportedMetadata: inner(reported.metadata, name),
    });
    return [name, { ...level.values, $metadata: level.metadata }] as const;
  });
  const root = levelOf({
    desired: without(desired.value, isComponent),
    reported: without(reported.value, isComponent),
    desiredMetadata: desired.metadata,
    reportedMetadata: reported.metadata,
  });
  return {
    $dtId: deviceId,
    ...root.values,
    ...Object.fromEntries(components),
    $metadata: { $model: modelId ?? '', ...root.metadata },
  };
}

/** Makes of a patch of a digital twin the patch of desired properties that it means. @throws {HubError} ArgumentInvalid */
export function desiredPatchOf(steps: readonly PatchStep[]): JsonObject {
  const patch = new Map<string, Json>();
  for (const { op, path, value } of steps) {
    const [name, property, ...more] = segmentsOf(path);
    if (name === undefined || more.length > 0) {
      throw new HubError(
        'ArgumentInvalid',
        `The path "${path.slice(0, 200)}" names no property, nor one of a component`,
      );
    }
    const change = op === 'remove' ? null : (value ?? null);
    if (property === undefined) patch.set(name, asComponent(change));
    else {
      const before = patch.get(name);
      patch.set(name, { ...(isObject(before) ? before : {}), [componentMark]: 'c', [property]: change });
    }
  }
  return Object.fromEntries(patch);
}

/** A whole component is told from a property by its `$metadata`, which may be empty. */
function asComponent(value: Json): Json {
  if (!isObject(value) || !('$metadata' in value)) return value;
  const { $metadata: _metadata, ...properties } = value;
  return { ...properties, [componentMark]: 'c' };
}

/** @see RFC 6901, section 4 */
function segmentsOf(path: string): string[] {
  if (!path.startsWith('/')) return [];
  return path
    .slice(1)
    .split('/')
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function levelOf(of: {
  readonly desired: JsonObject;
  readonly reported: JsonObject;
  readonly desiredMetadata: JsonObject;
  readonly reportedMetadata: JsonObject;
}): { readonly values: JsonObject; readonly metadata: Readonly<Record<string, unknown>> } {
  const values = new Map<string, Json>();
  const metadata = new Map<string, unknown>();
  for (const name of namesOf(of.desired, of.reported)) {
    const wanted = own(of.desired, name);
    const told = own(of.reported, name);
    const wantedAt = inner(of.desiredMetadata, name);
    const toldAt = inner(of.reportedMetadata, name);
    const answer = answerIn(told);
    if (told !== undefined) values.set(name, answer === undefined ? told : (answer['value'] ?? null));
    metadata.set(name, {
      ...(wanted === undefined ? {} : { desiredValue: wanted, desiredVersion: wantedAt['$lastUpdatedVersion'] }),
      ...(answer === undefined
        ? {}
        : { ackVersion: answer['av'], ackCode: answer['ac'], ackDescription: answer['ad'] ?? '' }),
      lastUpdateTime: (told === undefined ? wantedAt : toldAt)['$lastUpdated'],
    });
  }
  return { values: Object.fromEntries(values), metadata: Object.fromEntries(metadata) };
}

/** A device answers to what is desired with the value, a code, the version, and a text. */
function answerIn(told: Json | undefined): JsonObject | undefined {
  return isObject(told) && 'value' in told && 'ac' in told && 'av' in told ? told : undefined;
}

function namesOf(desired: JsonObject, reported: JsonObject): readonly string[] {
  return [...new Set([...Object.keys(reported), ...Object.keys(desired)])].filter((name) => name !== componentMark);
}

function isMarked(value: Json | undefined): boolean {
  return isObject(value) && value[componentMark] === 'c';
}

function inner(value: JsonObject, name: string): JsonObject {
  const found = own(value, name);
  return isObject(found) ? found : {};
}

/** Names come from callers: what JavaScript knows of its own is not meant. */
function own(value: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

function without(value: JsonObject, isLeftOut: (name: string) => boolean): JsonObject {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !isLeftOut(name)));
}
