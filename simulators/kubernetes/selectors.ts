import { type Json, valueAt, textOf } from './objects.ts';
import { badRequest } from './status.ts';

type Labels = Readonly<Record<string, string>>;

/** A selector as objects carry it. */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

/** Says whether labels meet a selector; an empty one is met by all. */
export function matches(selector: LabelSelector | undefined, labels: Labels = {}): boolean {
  if (selector === undefined) return false;
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => meets(labels[key], operator, values))
  );
}

/** Says whether a value meets one condition of a selector of labels, nodes or tolerations. */
export function meets(value: string | undefined, operator: string, values: readonly string[]): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return value !== undefined && Number(value) > Number(values[0]);
    case 'Lt':
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** Says whether an object is in a list. */
export type Filter = (object: Json) => boolean;

/**
 * Reads `labelSelector` of a request: `app=web,tier in (a, b),!old`.
 * @throws {ApiError} 400 when it is none
 */
export function labelFilter(text: string): Filter {
  const conditions = splitOutside(text).map(conditionOf);
  return (object) => {
    const labels = (valueAt(object, 'metadata.labels') ?? {}) as Labels;
    return conditions.every((condition) => condition(labels));
  };
}

function conditionOf(text: string): (labels: Labels) => boolean {
  const list = /^([\w./-]+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(text);
  if (list !== null) {
    const [, key = '', word, inner = ''] = list;
    const values = inner.split(',').map((value) => value.trim());
    return (labels) => meets(labels[key], word === 'in' ? 'In' : 'NotIn', values);
  }
  const equal = /^([\w./-]+)\s*(==|=|!=)\s*([\w.-]*)$/.exec(text);
  if (equal !== null) {
    const [, key = '', word, value = ''] = equal;
    return (labels) => meets(labels[key], word === '!=' ? 'NotIn' : 'In', [value]);
  }
  const exists = /^(!?)\s*([\w./-]+)$/.exec(text);
  if (exists === null) throw badRequest(`unable to parse requirement: "${text}" is no condition of a label selector`);
  const [, not, key = ''] = exists;
  return (labels) => meets(labels[key], not === '!' ? 'DoesNotExist' : 'Exists', []);
}

/** Splits at commas that are in no brackets. */
function splitOutside(text: string): string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/**
 * Reads `fieldSelector` of a request: `status.phase=Running,metadata.name!=x`.
 * @throws {ApiError} 400 when a field is not one that this kind may be selected by
 */
export function fieldFilter(
  text: string,
  kind: { readonly kind: string; readonly fieldLabels: readonly string[] },
): Filter {
  const conditions = text
    .split(',')
    .filter((part) => part.trim() !== '')
    .map((part) => {
      const [, path = '', word, value = ''] = /^\s*([\w.]+)\s*(==|=|!=)\s*(.*?)\s*$/.exec(part) ?? [];
      if (word === undefined) throw badRequest(`invalid selector: "${part}"; can't understand it`);
      if (![...kind.fieldLabels, 'metadata.name', 'metadata.namespace'].includes(path)) {
        throw badRequest(`field label not supported: ${path}`);
      }
      return { path, isEqual: word !== '!=', value };
    });
  return (object) =>
    conditions.every(({ path, isEqual, value }) => (textOf(valueAt(object, path)) === value) === isEqual);
}
