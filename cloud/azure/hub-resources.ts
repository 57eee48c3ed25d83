import { z } from 'zod';

/** What is used of a device's identity. */
export const deviceSchema = z.object({
  deviceId: z.string(),
  status: z.enum(['enabled', 'disabled']),
  capabilities: z.object({ iotEdge: z.boolean().optional() }).nullish(),
  authentication: z.object({ symmetricKey: z.object({ primaryKey: z.string().nullish() }).nullish() }).nullish(),
});

/** A twin's properties, with `$version` among them. */
const propertiesSchema = z.record(z.string(), z.unknown()).default({});

/** What is used of the twin of a device or module. */
export const twinSchema = z.object({
  deviceId: z.string(),
  moduleId: z.string().nullish(),
  status: z.string().optional(),
  connectionState: z.string().optional(),
  lastActivityTime: z.string().nullish(),
  tags: z.record(z.string(), z.unknown()).default({}),
  capabilities: z.object({ iotEdge: z.boolean().optional() }).nullish(),
  properties: z
    .object({ desired: propertiesSchema, reported: propertiesSchema })
    .default({ desired: {}, reported: {} }),
  /** Deployments that mean this device, by id, with `Applied` or `Targeted`; on `$edgeAgent` alone. */
  configurations: z.record(z.string(), z.object({ status: z.string() })).nullish(),
});

const countsSchema = z
  .object({ results: z.record(z.string(), z.number()).nullish(), queries: z.record(z.string(), z.string()).nullish() })
  .nullish();

/** What is used of a configuration, which an IoT Edge deployment is for the hub. */
export const configurationSchema = z.object({
  id: z.string(),
  content: z.object({ modulesContent: z.record(z.string(), z.record(z.string(), z.unknown())).nullish() }).nullish(),
  targetCondition: z.string().nullish(),
  priority: z.number().nullish(),
  labels: z.record(z.string(), z.string()).nullish(),
  createdTimeUtc: z.string().nullish(),
  etag: z.string().nullish(),
  systemMetrics: countsSchema,
});

/** One device of many: what is to become of it. */
export interface BulkEntry {
  readonly id: string;
  readonly importMode: 'create' | 'updateTwin';
  readonly status?: 'enabled' | 'disabled';
  readonly capabilities?: { readonly iotEdge: boolean };
  readonly tags?: Readonly<Record<string, unknown>>;
}

const bulkFailureSchema = z.object({
  deviceId: z.string(),
  errorCode: z.union([z.string(), z.number()]),
  errorStatus: z.string(),
});

/** What the hub says to a bulk call. */
export const bulkAnswerSchema = z.object({ isSuccessful: z.boolean(), errors: z.array(bulkFailureSchema).nullish() });

/** Why nothing happened to one device of many. */
export type BulkFailure = z.infer<typeof bulkFailureSchema>;

/** What the hub says to a condition that it is asked about. */
export const conditionTestSchema = z.object({ targetConditionError: z.string().nullish() });

export type HubDevice = z.infer<typeof deviceSchema>;
export type HubTwin = z.infer<typeof twinSchema>;
export type HubConfiguration = z.infer<typeof configurationSchema>;
