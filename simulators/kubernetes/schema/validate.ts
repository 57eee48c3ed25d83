import { type Definition, definitionNamed, type FieldType } from './definitions.ts';
import { isJson, type Json, textOf } from '../objects.ts';
import { isQuantity } from '../quantity.ts';
import type { Resource } from '../resources.ts';
import { badRequest, cause, type Cause } from '../status.ts';

/** An error of the package's compiled checks (ajv). */
interface CheckError {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** A check that `kubernetes-models` was compiled with. */
type Check = ((value: unknown) => boolean) & { readonly errors?: readonly CheckError[] | null };

const checks = new Map<Resource, Check>();

/** Loads what {@link checkSchema} needs. */
export async function loadChecks(resources: readonly Resource[]): Promise<void> {
  await Promise.all(
    resources.map(async (resource) => {
      const loaded = (await import(`kubernetes-models/_schemas/${resource.check}`)) as { validate: Check };
      checks.set(resource, loaded.validate);
    }),
  );
}

/** Takes away fields that are null, which a cluster takes for fields that are not there. */
export function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isJson(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== null && inner !== undefined)
      .map(([field, inner]) => [field, withoutNulls(inner)]),
  );
}

/**
 * An object without the fields that its kind does not have, and which those are: `spec.template.spec.containers[0].imagee`. Amounts of
 * resources become texts.
 * @throws {ApiError} 400 when an amount is none
 */
export function withoutUnknown(definition: Definition, value: Json): { value: Json; unknown: string[] } {
  const unknown: string[] = [];
  const ofObject = (at: Definition, object: Json, path: string): Json => {
    const entries = Object.entries(object).flatMap(([name, inner]) => {
      const field = at.fields.get(name);
      const place = path === '' ? name : `${path}.${name}`;
      if (field !== undefined) return [[name, ofType(field.type, inner, place)]];
      unknown.push(place);
      return [];
    });
    return Object.fromEntries(entries) as Json;
  };
  const ofType = (type: FieldType, inner: unknown, path: string): unknown => {
    if (type.kind === 'object' && isJson(inner)) return ofObject(definitionNamed(type.name), inner, path);
    if (type.kind === 'list' && Array.isArray(inner)) {
      return inner.map((item, index) => ofType(type.of, item, `${path}[${index}]`));
    }
    if (type.kind === 'map' && isJson(inner)) {
      return Object.fromEntries(
        Object.entries(inner).map(([key, item]) => [key, ofType(type.of, item, `${path}.${key}`)]),
      );
    }
    return type.kind === 'quantity' ? quantityText(inner, path) : inner;
  };
  return { value: ofObject(definition, value, ''), unknown };
}

function quantityText(value: unknown, path: string): unknown {
  if (typeof value !== 'number' && typeof value !== 'string') return value;
  const text = String(value);
  if (isQuantity(text)) return text;
  const wanted = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
  throw badRequest(`unable to read ${path} "${text}": ${wanted}`);
}

/**
 * Checks an object against its kind's schema: types, formats, required fields, fixed values.
 * @returns what is missing or not supported
 * @throws {ApiError} 400 at the first value of a wrong type, as a cluster's decoder does
 */
export function checkSchema(resource: Resource, object: Json): Cause[] {
  const check = checks.get(resource);
  if (check === undefined) throw new Error(`The check of "${resource.kind}" is not loaded`);
  if (check(object)) return [];
  const causes: Cause[] = [];
  for (const { instancePath, keyword, params } of check.errors ?? []) {
    const path = fieldOf(instancePath);
    if (keyword === 'required') causes.push(cause.required(join(path, String(params['missingProperty']))));
    else if (keyword === 'enum') {
      const values = (params['allowedValues'] as readonly string[]).toSorted();
      causes.push(cause.unsupported(path, at(object, instancePath), values));
    } else {
      throw wrongType(resource, { path, value: at(object, instancePath), keyword, params });
    }
  }
  return causes;
}

function wrongType(
  { kind, version }: Resource,
  of: { path: string; value: unknown; keyword: string; params: CheckError['params'] },
): Error {
  const { path, value, keyword, params } = of;
  const wanted = textOf(params['type'] ?? params['format'], 'number or string');
  const found = Array.isArray(value) ? 'array' : typeof value;
  const why =
    keyword === 'format' && typeof value === 'string'
      ? `${JSON.stringify(value)} is no ${wanted === 'byte' ? 'base64' : wanted}`
      : `cannot unmarshal ${found === 'boolean' ? 'bool' : found} into Go struct field ${kind}.${path} of type ${wanted}`;
  return badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: json: ${why}`);
}

/** `/spec/containers/0/name` is `spec.containers[0].name`. */
function fieldOf(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : join(path, unescape(part))), '');
}

function at(object: unknown, pointer: string): unknown {
  return pointer
    .split('/')
    .slice(1)
    .reduce<unknown>((inner, part) => (inner as Json | undefined)?.[unescape(part)], object);
}

function unescape(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~');
}

function join(path: string, field: string): string {
  return path === '' ? field : `${path}.${field}`;
}
