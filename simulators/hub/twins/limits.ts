import { HubError } from '../hub-error.ts';
import { type Json, type JsonObject, isObject } from '../json.ts';

/** A part of a twin that callers write, with the name that errors give it. */
export type TwinPart = 'Tags' | 'Properties.Desired' | 'Properties.Reported';

/**
 * The sizes that a part may have, in bytes as the hub counts them.
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins#device-twin-size
 */
const partBytesMax: Readonly<Record<TwinPart, number>> = {
  Tags: 8 * 1024,
  'Properties.Desired': 32 * 1024,
  'Properties.Reported': 32 * 1024,
};
const keyBytesMax = 1024;
const stringBytesMax = 4096;
const depthMax = 10;
/** What the document gives as the range of integers: −2^52 to 2^52 − 1. */
const integerRange = { min: -4503599627370496, max: 4503599627370495 } as const;

/**
 * Checks what a caller wants to write into a part of a twin, before it is merged: keys, values, depth.
 * @throws {HubError} ArgumentInvalid
 */
export function checkPatch(part: TwinPart, patch: JsonObject): void {
  checkNode(patch, { path: part, depth: 1 });
}

/**
 * Checks the size that a part has after a change.
 * @throws {HubError} DeviceModelMaxPropertiesExceeded
 */
export function checkSize(part: TwinPart, value: JsonObject): void {
  const max = partBytesMax[part];
  if (sizeOf(value) <= max) return;
  throw new HubError('DeviceModelMaxPropertiesExceeded', `'${part}' size should be less than ${max} bytes.`);
}

function checkNode(value: Json, at: { readonly path: string; readonly depth: number }): void {
  if (typeof value === 'string' && Buffer.byteLength(value) > stringBytesMax) {
    refuse(`Property or Tag value should be maximum ${stringBytesMax} bytes. Error in Property/Tag ${at.path}`);
  }
  if (typeof value === 'number' && Number.isInteger(value) && (value < integerRange.min || value > integerRange.max)) {
    refuse(
      `Integer values must be between ${integerRange.min} and ${integerRange.max}. Error in Property/Tag ${at.path}`,
    );
  }
  if (Array.isArray(value)) {
    for (const item of value) {
      if (item === null) refuse(`An array must not hold null. Error in Property/Tag ${at.path}`);
      checkNode(item as Json, { path: at.path, depth: at.depth + 1 });
    }
  } else if (isObject(value)) {
    if (at.depth > depthMax) refuse(`Maximum depth of ${depthMax} exceeded. Error in Property/Tag ${at.path}`);
    for (const [key, inner] of Object.entries(value)) {
      checkKey(key, at.path);
      checkNode(inner, { path: `${at.path}.${key}`, depth: at.depth + 1 });
    }
  }
}

function checkKey(key: string, path: string): void {
  // Cc: the control characters of C0 and C1.
  if (key === '' || key === '__proto__' || /[.$ \p{Cc}]/u.test(key)) {
    refuse(
      `Property or Tag names must not be empty nor contain '.', '$', space or control characters. Error in Property/Tag ${path}.${key.slice(0, 40)}`,
    );
  }
  if (Buffer.byteLength(key) > keyBytesMax) {
    refuse(`Property or Tag names must be maximum ${keyBytesMax} bytes. Error in Property/Tag ${path}`);
  }
}

function refuse(message: string): never {
  throw new HubError('ArgumentInvalid', message.replaceAll(';', ','));
}

/** Counts keys and strings by their bytes, numbers as 8, booleans as 4; `$metadata` and `$version` do not count. */
function sizeOf(value: Json): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (typeof value === 'number') return 8;
  if (typeof value === 'boolean') return 4;
  if (Array.isArray(value)) return value.reduce<number>((sum, item) => sum + sizeOf(item as Json), 0);
  if (!isObject(value)) return 0;
  return Object.entries(value).reduce((sum, [key, inner]) => sum + Buffer.byteLength(key) + sizeOf(inner), 0);
}
