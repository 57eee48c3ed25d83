import { type Json, type JsonObject, isObject } from '../json.ts';

/** One half of a twin's properties: what the back end desires, or what the device reports. */
export interface Section {
  readonly value: JsonObject;
  /** Mirrors the value: `$lastUpdated` (and `$lastUpdatedVersion` for desired) of every node. */
  readonly metadata: JsonObject;
  /** One more with each accepted change, even one that changes no value. */
  readonly version: number;
}

/** What the hub keeps of a twin beside what the identity says. */
export interface Twin {
  readonly tags: JsonObject;
  readonly desired: Section;
  readonly reported: Section;
  /** One more with each change of tags or properties. */
  readonly version: number;
  /** Goes up with each change; the entity tag is made of it. */
  readonly revision: number;
  /** The model that the device said it has when it last connected (IoT Plug and Play). */
  readonly modelId?: string | undefined;
  /** On the twin of `$edgeAgent` (or of a device with device configurations): which deployments count for it. */
  readonly configurations?: Readonly<Record<string, { readonly status: 'Applied' | 'Targeted' }>> | undefined;
}

const emptySection: Section = { value: {}, metadata: { $lastUpdated: '0001-01-01T00:00:00Z' }, version: 1 };

/** A twin as it is when its device has just been made. */
export const newTwin: Twin = { tags: {}, desired: emptySection, reported: emptySection, version: 1, revision: 1 };

/** Gives a twin's entity tag as the hub writes it: base64 of an 8-byte big-endian counter. */
export function twinEtag(twin: Twin): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(twin.revision));
  return bytes.toString('base64');
}

/** When and how a section is changed. */
export interface Stamp {
  readonly time: string;
  /** Whether nodes carry the version that changed them, as those of desired properties do. */
  readonly withVersion: boolean;
}

/** Merges a patch into a section: objects merge, `null` removes, all else (arrays too) replaces. */
export function patchSection(section: Section, patch: JsonObject, stamp: Stamp): Section {
  const version = section.version + 1;
  const node = nodeStamp(stamp, version);
  return {
    value: mergePatch(section.value, patch),
    metadata: mergeMetadata({ metadata: section.metadata, value: section.value, patch, node }),
    version,
  };
}

/** Replaces a section's whole value. */
export function replaceSection(section: Section, value: JsonObject, stamp: Stamp): Section {
  const version = section.version + 1;
  const clean = mergePatch({}, value);
  return { value: clean, metadata: freshMetadata(clean, nodeStamp(stamp, version)), version };
}

/** Merges a JSON merge patch (RFC 7396). */
export function mergePatch(value: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map<string, Json>(Object.entries(value));
  for (const [key, change] of Object.entries(patch)) {
    const before = merged.get(key);
    if (change === null) merged.delete(key);
    else merged.set(key, isObject(change) ? mergePatch(isObject(before) ? before : {}, change) : change);
  }
  return Object.fromEntries(merged);
}

/** Gives the merge patch that makes one value of another, or `undefined` when they are the same. */
export function patchBetween(before: JsonObject, after: JsonObject): JsonObject | undefined {
  const patch = new Map<string, Json>();
  for (const [key, value] of Object.entries(after)) {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    if (isObject(old) && isObject(value)) {
      const inner = patchBetween(old, value);
      if (inner !== undefined) patch.set(key, inner);
    } else if (JSON.stringify(old) !== JSON.stringify(value)) {
      patch.set(key, value);
    }
  }
  for (const key of Object.keys(before)) if (!Object.hasOwn(after, key)) patch.set(key, null);
  return patch.size === 0 ? undefined : Object.fromEntries(patch);
}

function nodeStamp(stamp: Stamp, version: number): JsonObject {
  return stamp.withVersion ? { $lastUpdated: stamp.time, $lastUpdatedVersion: version } : { $lastUpdated: stamp.time };
}

function mergeMetadata(at: {
  readonly metadata: JsonObject;
  readonly value: JsonObject;
  readonly patch: JsonObject;
  readonly node: JsonObject;
}): JsonObject {
  const { metadata, value, patch, node } = at;
  const merged = new Map<string, Json>([...Object.entries(metadata), ...Object.entries(node)]);
  for (const [key, change] of Object.entries(patch)) {
    const inner = merged.get(key);
    const before = value[key];
    if (change === null) merged.delete(key);
    else if (isObject(change) && isObject(before) && isObject(inner)) {
      merged.set(key, mergeMetadata({ metadata: inner, value: before, patch: change, node }));
    } else merged.set(key, freshMetadata(isObject(change) ? mergePatch({}, change) : change, node));
  }
  return Object.fromEntries(merged);
}

function freshMetadata(value: Json, node: JsonObject): JsonObject {
  if (!isObject(value)) return node;
  const inner = Object.entries(value).map(([key, child]) => [key, freshMetadata(child, node)] as const);
  return { ...node, ...Object.fromEntries(inner) };
}
