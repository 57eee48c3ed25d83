import { ledgersProperty } from '../shared/collect/reported-ledger.ts';
import type { JsonObject } from './report.ts';

/** Largest reported properties that are sent, as characters of JSON: the hub takes 32 KB, counted a little otherwise. */
const reportLengthMax = 30_000;

/** Fields of modules that can be left out, the least missed first: the hub has them in what is desired. */
const dispensable = ['env', 'createOptions', 'lastRestartTimeUtc', 'statusDescription'];

/**
 * Makes reported properties small enough for the hub to take, by leaving out of every module what the hub knows anyway. A report
 * that is refused for its size would hide all of them.
 */
export function fitReport(report: JsonObject): JsonObject {
  if (fits(report)) return report;
  let fitted = report;
  for (const field of dispensable) {
    const modules = Object.entries(objectAt(fitted, 'modules')).map(([name, module]) => [name, without(module, field)]);
    fitted = { ...fitted, modules: Object.fromEntries(modules) as JsonObject };
    if (fits(fitted)) return fitted;
  }
  // What is collected can be asked for on the device as well.
  const { [ledgersProperty]: _left, ...rest } = fitted;
  return rest;
}

function fits(report: JsonObject): boolean {
  return JSON.stringify(report).length <= reportLengthMax;
}

/** Gives a module without a field; `createOptions` are a part of its settings, in pieces. */
function without(module: JsonObject[string], field: string): JsonObject[string] {
  if (typeof module !== 'object' || module === null || Array.isArray(module)) return module;
  const { [field]: _left, settings = {}, ...rest } = module;
  const { image = '', imageHash = '' } = settings as JsonObject;
  return { ...rest, settings: field === 'createOptions' ? { image, imageHash } : settings };
}

function objectAt(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}
