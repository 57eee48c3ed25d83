import type { TensorType } from '../../shared/model/signature.ts';

/** Whole numbers of at most 64 bits with their sign. */
const signed: readonly (TensorType | undefined)[] = ['int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32'];
const floats: readonly (TensorType | undefined)[] = ['float16', 'float32', 'float64'];
const int64Max = 2n ** 63n - 1n;

/** Gives the type that holds the values of both; undefined is the type of no value at all. */
export function widerType(one: TensorType | undefined, other: TensorType | undefined): TensorType | undefined {
  if (one === other || other === undefined) return one;
  if (one === undefined) return other;
  if (signed.includes(one) && signed.includes(other)) return 'int64';
  const isNumber = (type: TensorType): boolean => signed.includes(type) || floats.includes(type) || type === 'uint64';
  if (isNumber(one) && isNumber(other) && (floats.includes(one) || floats.includes(other))) return 'float64';
  return 'string';
}

/** Finds the type of a value by its text, for files that name none; undefined for an empty one. */
export function typeOfText(text: string | null): TensorType | undefined {
  if (text === null || text === '') return undefined;
  if (/^-?(0|[1-9]\d{0,18})$/.test(text) && text !== '-0') {
    const value = BigInt(text);
    return value <= int64Max && value >= -int64Max - 1n ? 'int64' : 'string';
  }
  if (/^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text)) return /^-?0\d/.test(text) ? 'string' : 'float64';
  if (/^(-?Infinity|-?inf|NaN|nan)$/.test(text)) return 'float64';
  return /^(True|False)$/.test(text) ? 'bool' : 'string';
}
