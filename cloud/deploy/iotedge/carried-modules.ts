import { z } from 'zod';
import type { WireObject } from '../../../shared/edge/build-manifest.ts';
import { edgeManifestSchema, edgeModuleSchema, edgeRouteSchema } from '../../../shared/edge/manifest.ts';
import { FerryError } from '../../../shared/errors.ts';

/** Modules that a service's deployment carries beside its own, as they go over the wire. */
export interface CarriedModules {
  /** Desired properties of `$edgeAgent` and `$edgeHub`, but for modules and routes; undefined where the file is a layer. */
  readonly whole: { readonly agent: WireObject; readonly hub: WireObject } | undefined;
  readonly modules: Readonly<Record<string, WireObject>>;
  readonly routes: Readonly<Record<string, unknown>>;
  /** What the twins of modules get, by module. */
  readonly twins: Readonly<Record<string, WireObject>>;
}

const contentSchema = z.record(z.string(), z.record(z.string(), z.unknown()));
/** A manifest, or a hub's configuration with one in it. */
const fileSchema = z.union([
  z.looseObject({ modulesContent: contentSchema }),
  z.looseObject({ content: z.looseObject({ modulesContent: contentSchema }) }),
]);

const whole = 'properties.desired';
const modulePath = /^properties\.desired\.modules\.([a-zA-Z0-9_-]+)$/;
const routePath = /^properties\.desired\.routes\.([^.]+)$/;

/**
 * Reads an IoT Edge deployment manifest, whole or a layer, by the rules that a device reads it by.
 * @param file what it is called in a refusal
 * @throws {FerryError} SERVICE_INVALID naming everything that is wrong with it
 */
export function parseCarriedModules(file: string, text: string): CarriedModules {
  const read = fileSchema.safeParse(jsonOf(text));
  if (!read.success) throw refused(file, ['it has no modulesContent, an IoT Edge deployment manifest was wanted']);
  const { modulesContent } = ('content' in read.data ? read.data.content : read.data) as {
    modulesContent: z.infer<typeof contentSchema>;
  };
  const { $edgeAgent: agent = {}, $edgeHub: hub = {}, ...twins } = modulesContent;
  if (!Object.hasOwn(agent, whole)) return parseLayer(file, { agent, hub, twins });
  const checked = edgeManifestSchema.safeParse({ modulesContent });
  if (!checked.success) throw refused(file, issuesOf(checked.error));
  const { modules = {}, ...otherAgent } = agent[whole] as { modules?: CarriedModules['modules'] } & WireObject;
  const { routes = {}, ...otherHub } = hub[whole] as { routes?: CarriedModules['routes'] } & WireObject;
  return { whole: { agent: otherAgent, hub: otherHub }, modules, routes, twins };
}

/** Of a layer only whole modules and routes are taken. */
function parseLayer(
  file: string,
  {
    agent,
    hub,
    twins,
  }: { readonly agent: WireObject; readonly hub: WireObject; readonly twins: Record<string, WireObject> },
): CarriedModules {
  const problems: string[] = [];
  const named = <T extends z.ZodType>(
    of: WireObject,
    path: RegExp,
    schema: T,
    wanted: string,
  ): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(of).flatMap(([key, value]): [string, unknown][] => {
        const [, name] = path.exec(key) ?? [];
        const checked = schema.safeParse(value);
        if (name === undefined) problems.push(`"${key}" is set, ${wanted} was wanted`);
        else if (!checked.success) problems.push(...issuesOf(checked.error).map((issue) => `${key}.${issue}`));
        return name === undefined ? [] : [[name, value]];
      }),
    );
  const modules = named(agent, modulePath, edgeModuleSchema, '"properties.desired.modules.<name>"');
  const routes = named(hub, routePath, edgeRouteSchema, '"properties.desired.routes.<name>"');
  for (const [name, content] of Object.entries(twins)) {
    const wrong = Object.keys(content).filter((key) => key !== whole && !key.startsWith(`${whole}.`));
    problems.push(...wrong.map((key) => `${name}: "${key}" is set, "${whole}" or what is in it was wanted`));
  }
  if (problems.length > 0) throw refused(file, problems);
  return { whole: undefined, modules: modules as CarriedModules['modules'], routes, twins };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function issuesOf(error: z.ZodError): string[] {
  return error.issues.map((issue) => {
    const why = issue.code === 'invalid_key' ? issue.issues.map(({ message }) => message).join(', ') : issue.message;
    return `${issue.path.join('.')}: ${why}`;
  });
}

function refused(file: string, problems: readonly string[]): FerryError {
  return new FerryError('SERVICE_INVALID', `Cannot use the modules of "${file}": ${problems.join('; ')}`);
}
