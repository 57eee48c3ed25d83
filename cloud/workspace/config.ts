import { z } from 'zod';

/** The newest layout of `.ferry/` that this program writes and reads. */
export const workspaceFormat = 1;

/** Where a workspace's services answer; what is missing is not set up. */
export const endpointsSchema = z.strictObject({
  /** OCI registry as `host[:port][/prefix]`; images are pushed to it. */
  registry: z.string().min(1).optional(),
  /** Whether that registry serves the workspace's own layout, so that what is built is there at once. */
  registryServesLayout: z.boolean().optional(),
  /** Host name of the IoT Hub, with a port where it is not the standard one. */
  hub: z.string().min(1).optional(),
  /** Storage account that collected data is read from. */
  storage: z.strictObject({ blobEndpoint: z.url(), container: z.string().min(3) }).optional(),
  /** PEM file of a certificate authority that these endpoints are signed by. */
  caFile: z.string().min(1).optional(),
});

/** Content of `.ferry/workspace.json`: names and endpoints, no secrets. */
export const workspaceConfigSchema = z.strictObject({
  formatVersion: z.literal(workspaceFormat),
  name: z.string().min(1),
  /** Azure subscription id; the zero GUID where there is none. */
  subscription: z.guid(),
  resourceGroup: z.string().min(1),
  endpoints: endpointsSchema,
});

/** Content of `.ferry/secrets.json`, readable by its owner alone. */
export const secretsSchema = z.strictObject({
  /** `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…` */
  hubConnectionString: z.string().optional(),
  /** `DefaultEndpointsProtocol=…;AccountName=…;AccountKey=…;BlobEndpoint=…` */
  storageConnectionString: z.string().optional(),
});

export type Endpoints = z.infer<typeof endpointsSchema>;
export type WorkspaceConfig = z.infer<typeof workspaceConfigSchema>;
export type Secrets = z.infer<typeof secretsSchema>;
