import { isJson, isSame, type Json, textOf } from '../objects.ts';
import { type Definition, definitionNamed, type FieldType } from '../schema/definitions.ts';
import { listMerge } from '../schema/merge-keys.ts';
import { badRequest } from '../status.ts';

/** Lays a merge patch (RFC 7386) over an object: null takes a field away, lists are replaced. */
export function applyMergePatch(object: unknown, patch: Json): Json {
  const merged: Json = isJson(object) ? { ...object } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete merged[field];
    else merged[field] = isJson(value) ? applyMergePatch(merged[field], value) : value;
  }
  return merged;
}

const nothing: FieldType = { kind: 'any' };

/**
 * Lays a strategic merge patch over an object: as a merge patch, but items of lists that have a key go together by it.
 * @throws {ApiError} 400 when a directive is not known
 * @see https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
 */
export function applyStrategicPatch(definition: Definition, object: Json, patch: Json): Json {
  return mergeObject(definition, object, patch);
}

function mergeObject(definition: Definition | undefined, object: unknown, patch: Json): Json {
  const { $patch: directive, $retainKeys: retained, ...rest } = patch;
  if (directive === 'replace') return rest;
  if (directive !== undefined && directive !== 'merge')
    throw badRequest(`unknown patch directive "${textOf(directive)}"`);
  const merged: Json = isJson(object) ? { ...object } : {};
  if (Array.isArray(retained))
    for (const field of Object.keys(merged)) if (!retained.includes(field)) delete merged[field];
  for (const [field, value] of Object.entries(rest)) {
    if (field.startsWith('$setElementOrder/')) continue;
    const deleted = /^\$deleteFromPrimitiveList\/(.+)$/.exec(field)?.[1];
    if (deleted !== undefined) {
      const gone = Array.isArray(value) ? value : [];
      const list = merged[deleted];
      if (Array.isArray(list)) merged[deleted] = list.filter((item) => !gone.some((other) => isSame(item, other)));
    } else if (value === null) delete merged[field];
    else merged[field] = mergeField(definition, field, merged[field], value);
  }
  return order(definition, merged, rest);
}

function mergeField(definition: Definition | undefined, field: string, before: unknown, value: unknown): unknown {
  const type = definition?.fields.get(field)?.type ?? nothing;
  if (isJson(value)) {
    if (value['$patch'] === 'delete') return undefined;
    return mergeObject(type.kind === 'object' ? definitionNamed(type.name) : undefined, before, value);
  }
  if (!Array.isArray(value) || type.kind !== 'list') return value;
  const merge = listMerge(definition?.name ?? '', field);
  if (value.some((item) => isJson(item) && item['$patch'] === 'replace')) {
    return value.filter((item) => !(isJson(item) && item['$patch'] === 'replace'));
  }
  if (merge.by === 'atomic') return value;
  const list: unknown[] = Array.isArray(before) ? [...before] : [];
  if (merge.by === 'set') return [...list, ...value.filter((item) => !list.some((other) => isSame(item, other)))];
  const key = merge.patchKey ?? merge.keys[0] ?? 'name';
  const inner = type.of.kind === 'object' ? definitionNamed(type.of.name) : undefined;
  for (const item of value) {
    if (!isJson(item)) throw badRequest(`"${field}" has an item that is no object`);
    const at = list.findIndex((other) => isJson(other) && isSame(other[key], item[key]));
    if (item['$patch'] === 'delete') {
      if (at >= 0) list.splice(at, 1);
    } else if (at >= 0) list[at] = mergeObject(inner, list[at], item);
    else list.push(mergeObject(inner, {}, item));
  }
  return list;
}

/** Puts the items of lists into the order that `$setElementOrder` names. */
function order(definition: Definition | undefined, merged: Json, patch: Json): Json {
  for (const [directive, wanted] of Object.entries(patch)) {
    const field = /^\$setElementOrder\/(.+)$/.exec(directive)?.[1];
    const list = field === undefined ? undefined : merged[field];
    if (field === undefined || !Array.isArray(list) || !Array.isArray(wanted)) continue;
    const merge = listMerge(definition?.name ?? '', field);
    const key = merge.by === 'keys' ? (merge.patchKey ?? merge.keys[0] ?? 'name') : undefined;
    const nameOf = (item: unknown): unknown => (key !== undefined && isJson(item) ? item[key] : item);
    const places = wanted.map((item) => JSON.stringify(nameOf(item)));
    const place = (item: unknown): number => {
      const found = places.indexOf(JSON.stringify(nameOf(item)));
      return found < 0 ? places.length : found;
    };
    merged[field] = list.toSorted((a, b) => place(a) - place(b));
  }
  return merged;
}
