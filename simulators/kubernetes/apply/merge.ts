import { isJson, type Json } from '../objects.ts';
import type { Definition } from '../schema/definitions.ts';
import { childAt, childPlace, type FieldSet, itemPlace, itemSegment, type Place } from './field-set.ts';

/** Lays an applied configuration over an object: fields of both are the configuration's, items of lists go together by their keys. */
export function mergeApplied(definition: Definition, live: Json, applied: Json): Json {
  return merge(rootOf(definition), live, applied) as Json;
}

/** Takes fields out of an object, and objects and lists that have nothing left of what was there. */
export function withoutFields(definition: Definition, object: Json, fields: FieldSet): Json {
  return (without(rootOf(definition), object, fields) ?? {}) as Json;
}

function rootOf(definition: Definition): Place {
  return { type: { kind: 'object', name: definition.name }, merge: { by: 'atomic' }, isAtomic: false };
}

function merge(place: Place, live: unknown, applied: unknown): unknown {
  const { type } = place;
  if (place.isAtomic || live === undefined) return applied;
  if ((type.kind === 'object' || type.kind === 'map') && isJson(live) && isJson(applied)) {
    const merged: Json = { ...live };
    for (const [field, value] of Object.entries(applied)) {
      const inner = type.kind === 'object' ? childPlace(place, `f:${field}`) : itemPlace(place);
      merged[field] = merge(inner, live[field], value);
    }
    return merged;
  }
  if (place.merge.by !== 'atomic' && Array.isArray(live) && Array.isArray(applied))
    return mergeLists(place, live, applied);
  return applied;
}

/** Items that both have stay in the order of the configuration; what only the object has comes after. */
function mergeLists(place: Place, live: readonly unknown[], applied: readonly unknown[]): unknown[] {
  const segments = applied.map((item) => itemSegment(place.merge, item));
  const mine = applied.map((item, index) => {
    const segment = segments[index];
    const before = segment === undefined ? undefined : childAt(place, live, segment);
    return place.merge.by === 'set' ? item : merge(itemPlace(place), before, item);
  });
  return [...mine, ...live.filter((item) => !segments.includes(itemSegment(place.merge, item)))];
}

function without(place: Place, value: unknown, fields: FieldSet): unknown {
  if (fields.isMember && (fields.children.size === 0 || !isJson(value))) return undefined;
  if (isJson(value)) {
    const left: Json = { ...value };
    for (const [segment, inner] of fields.children) {
      const field = segment.slice(2);
      if (!(field in left)) continue;
      const kept = without(childPlace(place, segment), left[field], inner);
      if (kept === undefined) delete left[field];
      else left[field] = kept;
    }
    // Objects that had nothing but what is taken away go with it.
    return Object.keys(left).length === 0 && Object.keys(value).length > 0 && place.type.kind !== 'any'
      ? undefined
      : left;
  }
  if (!Array.isArray(value)) return value;
  const left = value.flatMap((item) => {
    const segment = itemSegment(place.merge, item);
    const inner = segment === undefined ? undefined : fields.children.get(segment);
    if (inner === undefined) return [item];
    if (inner.isMember) return [];
    const kept = without(itemPlace(place), item, inner);
    return kept === undefined ? [] : [kept];
  });
  return left.length === 0 ? undefined : left;
}
