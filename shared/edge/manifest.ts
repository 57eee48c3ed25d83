import { z } from 'zod';
import { messageOf } from '../errors.ts';
import { isCreateOptionsField, parseCreateOptions } from './create-options.ts';

/** Names of modules: what IoT Edge's own schema allows, which is also what a container may be called. */
const moduleNamePattern = /^[a-zA-Z0-9_-]+$/;

/** What an image may be called in a manifest: everything before the last colon after the last slash, and a tag. */
const imagePattern = /^(?:[^/]*\/)*[^/:]+(?::[^/:]+)?$/;

/** Start order of a module that gives none: last. IoT Edge uses the largest unsigned 32-bit number. */
export const startupOrderMax = 4_294_967_295;

const environmentSchema = z.record(
  z.string().regex(/^[^+#$\s.]+$/, 'a name without +, #, $, dot or white space'),
  z.strictObject({ value: z.union([z.string(), z.number(), z.boolean()]) }),
);

/** Settings of a module: its image, and `createOptions` in up to 100 pieces. */
const settingsSchema = z
  .looseObject({
    image: z.string().trim().min(1).regex(imagePattern, 'an image reference such as "registry/name:tag"'),
  })
  .superRefine((settings, context) => {
    for (const [name, value] of Object.entries(settings)) {
      if (name === 'image') continue;
      if (!isCreateOptionsField(name)) {
        context.addIssue({ code: 'unrecognized_keys', keys: [name], input: settings });
      } else if (typeof value !== 'string') {
        context.addIssue({ code: 'custom', path: [name], message: 'a text of JSON', input: value });
      }
    }
    try {
      parseCreateOptions(settings);
    } catch (error) {
      context.addIssue({ code: 'custom', path: ['createOptions'], message: messageOf(error), input: settings });
    }
  });

const common = {
  type: z.literal('docker'),
  settings: settingsSchema,
  env: environmentSchema.optional(),
  imagePullPolicy: z.enum(['on-create', 'never']).default('on-create'),
};

const startupOrder = z.int().min(0).max(startupOrderMax).default(startupOrderMax);
const restartPolicies = ['never', 'on-failure', 'on-unhealthy', 'always'] as const;

/** A module of a deployment as the manifest writes it, with IoT Edge's own defaults. */
export const edgeModuleSchema = z.strictObject({
  ...common,
  version: z.string().optional(),
  status: z.enum(['running', 'stopped']).default('running'),
  restartPolicy: z.enum(restartPolicies).default('on-unhealthy'),
  startupOrder,
});

/**
 * The desired properties of `$edgeAgent`, schema 1.0 and 1.1: all that a device is to run.
 * @see https://learn.microsoft.com/azure/iot-edge/module-edgeagent-edgehub
 */
export const edgeAgentDesiredSchema = z.strictObject({
  schemaVersion: z.string().regex(/^1\.[01](?:\.0)?$/, 'schema version "1.0" or "1.1"'),
  runtime: z.strictObject({
    type: z.literal('docker'),
    settings: z
      .strictObject({
        minDockerVersion: z.string().optional(),
        loggingOptions: z.string().optional(),
        registryCredentials: z
          .record(
            z.string().regex(/^[^.$# ]+$/, 'a name without dot, $, # or space'),
            z.strictObject({
              username: z.string(),
              password: z.string(),
              address: z.string().regex(/^\S+$/, 'an address without white space'),
            }),
          )
          .optional(),
      })
      .default({}),
  }),
  systemModules: z.strictObject({
    edgeAgent: z.strictObject(common),
    edgeHub: z.strictObject({
      ...common,
      status: z.enum(['running', 'stopped']).default('running'),
      restartPolicy: z.enum(restartPolicies).default('always'),
      startupOrder,
    }),
  }),
  modules: z
    .record(z.string().regex(moduleNamePattern, 'a name of letters, digits, "_" and "-"'), edgeModuleSchema)
    .default({}),
});

/** A route of `$edgeHub`: a text, or from schema 1.1 on an object. */
export const edgeRouteSchema = z.union([
  z.string(),
  z.strictObject({
    route: z.string(),
    priority: z.int().min(0).max(9).optional(),
    timeToLiveSecs: z.int().min(0).optional(),
  }),
]);

/** The desired properties of `$edgeHub`, schema 1.0 and 1.1: routes between modules and to the cloud, and how long messages wait. */
export const edgeHubDesiredSchema = z.strictObject({
  schemaVersion: z.enum(['1.0', '1.1']),
  routes: z.record(z.string(), edgeRouteSchema).default({}),
  storeAndForwardConfiguration: z.strictObject({
    /** -1 is for ever. */
    timeToLiveSecs: z.int().min(-1),
    storeLimits: z.strictObject({ maxSizeBytes: z.int().min(-1) }).optional(),
  }),
});

/** A module's part of a manifest that replaces all its desired properties. */
function whole<T extends z.ZodType>(desired: T): z.ZodObject<{ 'properties.desired': T }> {
  return z.strictObject({ 'properties.desired': desired });
}

/** A whole deployment manifest: `{ modulesContent: { $edgeAgent, $edgeHub, <module>: { 'properties.desired': … } } }`. */
export const edgeManifestSchema = z.strictObject({
  modulesContent: z
    .object({ $edgeAgent: whole(edgeAgentDesiredSchema), $edgeHub: whole(edgeHubDesiredSchema) })
    .catchall(whole(z.record(z.string(), z.unknown()))),
});

/** A module of a deployment, defaults filled in. */
export type EdgeModule = z.infer<typeof edgeModuleSchema>;
/** The desired properties of `$edgeAgent`, defaults filled in. */
export type EdgeAgentDesired = z.infer<typeof edgeAgentDesiredSchema>;
