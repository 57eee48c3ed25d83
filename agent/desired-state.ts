import type { z } from 'zod';
import { type EdgeAgentDesired, edgeAgentDesiredSchema } from '../shared/edge/manifest.ts';
import { type ModuleSpec, moduleSpec } from './module-spec.ts';

/** All that a device is to run, out of the desired properties of `$edgeAgent`. */
export interface DesiredState {
  /** `$version` of the desired properties. */
  readonly version: number;
  readonly modules: readonly ModuleSpec[];
  readonly manifest: EdgeAgentDesired;
}

/**
 * What reading desired properties came to. The codes are IoT Edge's `lastDesiredStatus`: 400 the wrong format, 412 a
 * schema version that is not supported, 417 no deployment yet.
 */
export type DesiredReading =
  | { readonly code: 200; readonly state: DesiredState; readonly ignored: readonly string[] }
  | { readonly code: 400 | 412 | 417; readonly version: number; readonly description: string };

/** IoT Edge's own text, which people search for. */
const emptyText = 'This device has an empty configuration for the edge agent. Please set a deployment manifest.';

/** Most problems that are told of one manifest; a reported property may have 4 KB. */
const problemsMax = 8;

/**
 * Reads the desired properties of `$edgeAgent` as they came from the hub. A field that the schema does not know is left out and named in
 * `ignored`, as Microsoft's runtime leaves it out; all else that is wrong is told at once.
 */
export function readDesired(desired: unknown): DesiredReading {
  if (typeof desired !== 'object' || desired === null) {
    return { code: 400, version: 0, description: 'Cannot read the deployment: it is no JSON object' };
  }
  const { $version: given, $metadata: _metadata, ...properties } = desired as Record<string, unknown>;
  const version = typeof given === 'number' ? given : 0;
  if (Object.keys(properties).length === 0) return { code: 417, version, description: emptyText };
  const { schemaVersion } = properties;
  if (typeof schemaVersion !== 'string') {
    return { code: 400, version, description: 'Cannot read the deployment: schemaVersion is missing' };
  }
  if (!isSupported(schemaVersion)) {
    const description = `Cannot carry out the deployment: its schema version is "${schemaVersion}", 1.0 or 1.1 was wanted`;
    return { code: 412, version, description };
  }
  // Whatever is behind the first two numbers makes no other schema.
  const { result, ignored } = parseLeniently({ ...properties, schemaVersion: schemaVersion.slice(0, 3) });
  if (!result.success) {
    return { code: 400, version, description: `Cannot read the deployment: ${problemsOf(result.error)}` };
  }
  const modules = Object.entries(result.data.modules)
    .map(([name, module]) => moduleSpec(name, module))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { code: 200, state: { version, modules, manifest: result.data }, ignored };
}

/** IoT Edge takes every version of the same major that is not newer than 1.1.0: two to four numbers, of which one that is missing is before 0. */
function isSupported(version: string): boolean {
  return /^1\.(?:0(?:\.\d+){0,2}|1(?:\.0)?)$/.test(version);
}

/** Parses, without the fields that the schema does not know. */
function parseLeniently(properties: Record<string, unknown>): {
  result: z.ZodSafeParseResult<EdgeAgentDesired>;
  ignored: string[];
} {
  const first = edgeAgentDesiredSchema.safeParse(properties);
  const unknownFields = (first.error?.issues ?? []).flatMap((issue) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [],
  );
  if (unknownFields.length === 0) return { result: first, ignored: [] };
  const copy = structuredClone(properties);
  for (const path of unknownFields) removeField(copy, path);
  return { result: edgeAgentDesiredSchema.safeParse(copy), ignored: unknownFields.map((path) => path.join('.')) };
}

function removeField(object: Record<string, unknown>, path: readonly PropertyKey[]): void {
  let at: unknown = object;
  for (const part of path.slice(0, -1)) at = (at as Record<PropertyKey, unknown>)[part];
  delete (at as Record<PropertyKey, unknown>)[path.at(-1) ?? ''];
}

function problemsOf(error: z.ZodError): string {
  const problems = error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  const more = problems.length - problemsMax;
  return [...problems.slice(0, problemsMax), ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}
