import { z } from 'zod';

/** The newest layout of `.ferry/` that this program writes and reads. */
export const workspaceFormat = 1;

/** Where a workspace's services answer; what is missing is not set up. */
export const endpointsSchema = z.strictObject({
  /** OCI registry as `host[:port][/prefix]`; images are pushed to it. */
  registry: z.string().min(1).optional(),
  /** The registry that serves the workspace's own layout, where one has: what is built is there at once. */
  layoutRegistry: z.string().min(1).optional(),
  /** Host name of the IoT Hub, with a port where it is not the standard one. */
  hub: z.string().min(1).optional(),
  /** Storage account that collected data is read from. */
  storage: z.strictObject({ blobEndpoint: z.url(), container: z.string().min(3) }).optional(),
  /** How Azure's resources are managed; absent means Azure's public cloud, and whoever the environment signs in as. */
  azure: z
    .strictObject({
      /** Of Resource Manager. @default Azure's public cloud */
      endpoint: z.url().optional(),
      /** Tenant and application to sign in as; the secret is with the other secrets. */
      tenant: z.guid().optional(),
      client: z.guid().optional(),
      /** Where new resources are made. */
      region: z.string().min(1).optional(),
    })
    .optional(),
  /** PEM file of a certificate authority that these endpoints are signed by. */
  caFile: z.string().min(1).optional(),
});

/** A place that services run in, which the workspace knows by a name: `prod` in `aks/prod`. */
export const computeSchema = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('kubernetes'),
    /** Namespace that services go to. */
    namespace: z.string().min(1).default('default'),
    /** Absolute path of a kubeconfig file. @default that of `KUBECONFIG`, or `~/.kube/config` */
    kubeconfig: z.string().min(1).optional(),
    /** Context of the kubeconfig. @default its current one */
    context: z.string().min(1).optional(),
    /** Name of an AKS cluster, in place of a kubeconfig: its credentials are fetched from Azure. */
    cluster: z.string().min(1).optional(),
    /** Resource group of the cluster. @default the workspace's */
    resourceGroup: z.string().min(1).optional(),
  }),
  z.strictObject({
    kind: z.literal('containerInstances'),
    /** @default the workspace's */
    resourceGroup: z.string().min(1).optional(),
    /** Azure region. @default the resource group's */
    location: z.string().min(1).optional(),
  }),
]);

/** Content of `.ferry/workspace.json`: names and endpoints, no secrets. */
export const workspaceConfigSchema = z.strictObject({
  formatVersion: z.literal(workspaceFormat),
  name: z.string().min(1),
  /** Azure subscription id; the zero GUID where there is none. */
  subscription: z.guid(),
  resourceGroup: z.string().min(1),
  endpoints: endpointsSchema,
  /** By name; which targets need one is theirs to say. */
  computes: z.record(z.string().min(1), computeSchema).optional(),
});

/** Content of `.ferry/secrets.json`, readable by its owner alone. */
export const secretsSchema = z.strictObject({
  /** `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…` */
  hubConnectionString: z.string().optional(),
  /** `DefaultEndpointsProtocol=…;AccountName=…;AccountKey=…;BlobEndpoint=…` */
  storageConnectionString: z.string().optional(),
  /** Of the Application Insights resource that services send their traces to: `InstrumentationKey=…;IngestionEndpoint=…` */
  appInsightsConnectionString: z.string().optional(),
  /** Of the application that `endpoints.azure.client` names. */
  azureClientSecret: z.string().optional(),
});

export type Compute = z.infer<typeof computeSchema>;
export type Endpoints = z.infer<typeof endpointsSchema>;
export type WorkspaceConfig = z.infer<typeof workspaceConfigSchema>;
export type Secrets = z.infer<typeof secretsSchema>;
