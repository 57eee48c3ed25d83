import type { Json, JsonObject } from './report.ts';

/**
 * Gives the smallest patch that makes one twin section another: what is new or different, and null for what is gone. Nothing when they
 * are equal. Arrays are replaced whole, as the hub replaces them.
 */
export function reportDiff(before: JsonObject, after: JsonObject): JsonObject | undefined {
  const patch: JsonObject = {};
  for (const [name, value] of Object.entries(after)) {
    const old = before[name];
    if (isObject(old) && isObject(value)) {
      const inner = reportDiff(old, value);
      if (inner !== undefined) patch[name] = inner;
    } else if (!isEqual(old, value)) {
      patch[name] = value;
    }
  }
  for (const name of Object.keys(before)) if (!(name in after)) patch[name] = null;
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEqual(a: Json | undefined, b: Json): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
