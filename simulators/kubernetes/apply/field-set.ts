import { isJson, isSame, type Json } from '../objects.ts';
import { type Definition, definitionNamed, type FieldType } from '../schema/definitions.ts';
import { isAtomic, type ListMerge, listMerge } from '../schema/merge-keys.ts';

/**
 * A set of fields, as a tree: `f:spec` → `f:replicas`. A field is in the set when its node is a member.
 * @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/ FieldsV1
 */
export interface FieldSet {
  readonly isMember: boolean;
  readonly children: ReadonlyMap<string, FieldSet>;
}

export const nothing: FieldSet = { isMember: false, children: new Map() };
const member: FieldSet = { isMember: true, children: new Map() };

/** Fields of every object that nobody owns. */
const unowned = new Set(['apiVersion', 'kind']);
const unownedMetadata = new Set(
  'name namespace uid resourceVersion creationTimestamp generation managedFields selfLink deletionTimestamp deletionGracePeriodSeconds generateName'.split(
    ' ',
  ),
);

/** Where in the schema a value stands: what it is, and how its items are told apart. */
export interface Place {
  readonly type: FieldType;
  readonly merge: ListMerge;
  readonly isAtomic: boolean;
}

/** Gives the place of a field of an object. */
export function placeOf(definition: Definition, field: string): Place {
  const type = definition.fields.get(field)?.type ?? { kind: 'any' };
  return {
    type,
    merge: listMerge(definition.name, field),
    isAtomic: isAtomic(definition.name, field, type.kind === 'object' ? type.name : undefined),
  };
}

/** Gives the place of the items of a list or the values of a map. */
export function itemPlace({ type }: Place): Place {
  const inner: FieldType = type.kind === 'list' || type.kind === 'map' ? type.of : { kind: 'any' };
  return { type: inner, merge: { by: 'atomic' }, isAtomic: false };
}

/** How an item of a list is named in a set: by its keys, or by its value. Undefined where its keys are not given. */
export function itemSegment(merge: ListMerge, item: unknown): string | undefined {
  if (merge.by === 'set') return `v:${JSON.stringify(item)}`;
  if (merge.by === 'atomic' || !isJson(item)) return undefined;
  const entries = merge.keys.map((key) => [key, item[key] ?? merge.defaults?.[key]] as const);
  if (entries.some(([, value]) => value === undefined)) return undefined;
  return `k:${JSON.stringify(Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1))))}`;
}

/** Gives all fields that an object sets. */
export function fieldsOf(definition: Definition, object: Json): FieldSet {
  const children = new Map<string, FieldSet>();
  for (const [field, value] of Object.entries(object)) {
    if (unowned.has(field) || value === undefined) continue;
    const set = fieldsAt(placeOf(definition, field), value);
    const kept = field === 'metadata' ? withoutUnowned(set) : set;
    if (kept.isMember || kept.children.size > 0) children.set(`f:${field}`, kept);
  }
  return { isMember: false, children };
}

function withoutUnowned(set: FieldSet): FieldSet {
  const children = [...set.children].filter(([segment]) => !unownedMetadata.has(segment.slice(2)));
  return { isMember: false, children: new Map(children) };
}

function fieldsAt(place: Place, value: unknown): FieldSet {
  const { type, merge } = place;
  if (place.isAtomic) return member;
  if (type.kind === 'object' && isJson(value)) {
    const definition = definitionNamed(type.name);
    const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
    if (entries.length === 0) return member;
    return {
      isMember: false,
      children: new Map(entries.map(([field, inner]) => [`f:${field}`, fieldsAt(placeOf(definition, field), inner)])),
    };
  }
  if (type.kind === 'map' && isJson(value)) {
    const entries = Object.entries(value);
    if (entries.length === 0) return member;
    return {
      isMember: false,
      children: new Map(entries.map(([key, inner]) => [`f:${key}`, fieldsAt(itemPlace(place), inner)])),
    };
  }
  if (type.kind === 'list' && Array.isArray(value) && merge.by !== 'atomic' && value.length > 0) {
    const children = new Map<string, FieldSet>();
    for (const item of value) {
      const segment = itemSegment(merge, item);
      // Without its keys an item cannot be told from the others, so the list is one value.
      if (segment === undefined) return member;
      const inner = merge.by === 'set' ? nothing : fieldsAt(itemPlace(place), item);
      children.set(segment, { isMember: true, children: inner.children });
    }
    return { isMember: false, children };
  }
  return member;
}

/** All fields of both. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  const children = new Map(a.children);
  for (const [segment, set] of b.children) children.set(segment, union(children.get(segment) ?? nothing, set));
  return { isMember: a.isMember || b.isMember, children };
}

/** The fields of `a` that are in `b` too. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (inA, inB) => inA && inB);
}

/** The fields of `a` that are not in `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (inA, inB) => inA && !inB);
}

function combine(a: FieldSet, b: FieldSet, keep: (inA: boolean, inB: boolean) => boolean): FieldSet {
  const children = new Map<string, FieldSet>();
  for (const [segment, set] of a.children) {
    const inner = combine(set, b.children.get(segment) ?? nothing, keep);
    if (inner.isMember || inner.children.size > 0) children.set(segment, inner);
  }
  return { isMember: keep(a.isMember, b.isMember), children };
}

export function isEmpty(set: FieldSet): boolean {
  return !set.isMember && set.children.size === 0;
}

/** Writes a set as `fieldsV1`. */
export function toFieldsV1(set: FieldSet): Json {
  const inner = [...set.children].map(([segment, child]): [string, Json] => [segment, toFieldsV1(child)]);
  const isLeaf = inner.length === 0;
  return Object.fromEntries(set.isMember && !isLeaf ? [['.', {}], ...inner] : inner);
}

/** Reads `fieldsV1`. */
export function fromFieldsV1(fields: Json): FieldSet {
  const entries = Object.entries(fields).filter(([segment]) => segment !== '.');
  return {
    isMember: '.' in fields || entries.length === 0,
    children: new Map(entries.map(([segment, inner]) => [segment, fromFieldsV1(inner as Json)])),
  };
}

/** Writes each field as people read it: `.spec.template.spec.containers[name="web"].image`. */
export function pathsOf(set: FieldSet, path = ''): string[] {
  const own = set.isMember && set.children.size === 0 ? [path] : [];
  return [...own, ...[...set.children].flatMap(([segment, child]) => pathsOf(child, path + textOf(segment)))];
}

function textOf(segment: string): string {
  const rest = segment.slice(2);
  if (segment.startsWith('f:')) return `.${rest}`;
  if (segment.startsWith('v:')) return `[=${rest}]`;
  const keys = Object.entries(JSON.parse(rest) as Json).map(([key, value]) => `${key}=${JSON.stringify(value)}`);
  return `[${keys.join(',')}]`;
}

/** Gives the fields that two versions of an object do not share: set, changed or taken away. */
export function changedFields(definition: Definition, before: Json, after: Json): { set: FieldSet; removed: FieldSet } {
  const fieldsBefore = fieldsOf(definition, before);
  const fieldsAfter = fieldsOf(definition, after);
  const common = intersection(fieldsAfter, fieldsBefore);
  const root: Place = { type: { kind: 'object', name: definition.name }, merge: { by: 'atomic' }, isAtomic: false };
  return {
    set: union(difference(fieldsAfter, fieldsBefore), differing(root, common, before, after)),
    removed: difference(fieldsBefore, fieldsAfter),
  };
}

/** The fields of a set that have not the same value in both. */
function differing(place: Place, set: FieldSet, before: unknown, after: unknown): FieldSet {
  if (set.children.size === 0) return set.isMember && !isSame(before, after) ? member : nothing;
  const children = new Map<string, FieldSet>();
  for (const [segment, child] of set.children) {
    const inner = differing(
      childPlace(place, segment),
      child,
      childAt(place, before, segment),
      childAt(place, after, segment),
    );
    if (!isEmpty(inner)) children.set(segment, inner);
  }
  return { isMember: false, children };
}

/** The place of what a segment names. */
export function childPlace(place: Place, segment: string): Place {
  if (place.type.kind !== 'object') return itemPlace(place);
  return placeOf(definitionNamed(place.type.name), segment.slice(2));
}

/** What a segment names in a value. */
export function childAt(place: Place, value: unknown, segment: string): unknown {
  if (segment.startsWith('f:')) return isJson(value) ? value[segment.slice(2)] : undefined;
  if (!Array.isArray(value)) return undefined;
  return value.find((item) => itemSegment(place.merge, item) === segment);
}
