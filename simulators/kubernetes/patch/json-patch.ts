import { z } from 'zod';
import { isJson, isSame, type Json } from '../objects.ts';
import { ApiError, badRequest } from '../status.ts';

const operationsSchema = z
  .array(
    z.object({
      op: z.enum(['add', 'remove', 'replace', 'move', 'copy', 'test']),
      path: z.string(),
      from: z.string().optional(),
      value: z.unknown().optional(),
    }),
  )
  .max(10_000);

/** Carries out a JSON patch (RFC 6902) on a copy. @throws {ApiError} 400 when it is none, 422 when it cannot be carried out */
export function applyJsonPatch(object: Json, patch: unknown): Json {
  const operations = operationsSchema.safeParse(patch);
  if (!operations.success) throw badRequest('error decoding patch: a list of RFC 6902 operations was wanted');
  const root = { '': structuredClone(object) as unknown };
  for (const { op, path, from, value } of operations.data) {
    if (op === 'test') {
      if (!isSame(read(root, path), value)) throw failed(`testing value ${path} failed`);
    } else if (op === 'add') add(root, path, value);
    else if (op === 'remove') remove(root, path);
    else if (op === 'replace') {
      remove(root, path);
      add(root, path, value);
    } else {
      const moved = structuredClone(read(root, from ?? ''));
      if (op === 'move') remove(root, from ?? '');
      add(root, path, moved);
    }
  }
  if (!isJson(root[''])) throw badRequest('the patch leaves no object');
  return root[''];
}

function failed(why: string): ApiError {
  return new ApiError(422, 'Invalid', `the server rejected our request due to an error in our request: ${why}`);
}

/** Finds what holds the last part of a path. */
function holderOf(root: Json, path: string): { holder: unknown; last: string } {
  const parts = path === '' ? [''] : ['', ...path.split('/').slice(1).map(unescape)];
  if (parts.some((part) => part === '__proto__')) throw failed(`path "${path}" is not there`);
  const holder = parts.slice(0, -1).reduce<unknown>((at, part) => child(at, part), root);
  return { holder, last: parts.at(-1) ?? '' };
}

function child(at: unknown, part: string): unknown {
  if (Array.isArray(at)) return at[Number(part)];
  return isJson(at) ? at[part] : undefined;
}

function read(root: Json, path: string): unknown {
  const { holder, last } = holderOf(root, path);
  const found = child(holder, last);
  if (found === undefined) throw failed(`path "${path}" is not there`);
  return found;
}

function add(root: Json, path: string, value: unknown): void {
  const { holder, last } = holderOf(root, path);
  if (Array.isArray(holder)) {
    const index = last === '-' ? holder.length : Number(last);
    if (!Number.isInteger(index) || index < 0 || index > holder.length)
      throw failed(`"${path}" is outside of the list`);
    holder.splice(index, 0, value);
  } else if (isJson(holder)) holder[last] = value;
  else throw failed(`path "${path}" is not there`);
}

function remove(root: Json, path: string): void {
  const { holder, last } = holderOf(root, path);
  if (child(holder, last) === undefined) throw failed(`path "${path}" is not there`);
  if (Array.isArray(holder)) holder.splice(Number(last), 1);
  else if (isJson(holder)) delete holder[last];
}

function unescape(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~');
}
