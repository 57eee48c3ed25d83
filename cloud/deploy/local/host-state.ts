import { z } from 'zod';
import { isDigest, type Digest } from '../../../shared/digest.ts';
import { sampleSchema } from '../../models/sample.ts';
import { serviceStates } from '../service-state.ts';

/** Name of the file in a service's folder that tells its host what is wanted; it holds keys, so its owner alone can read it. */
export const desiredFile = 'desired.json';
/** Name of the file that the host writes its log into. */
export const logFile = 'host.log';

/** What a replica is made of: one that differs in any of it has to be made anew. */
const replicaSchema = z.strictObject({
  image: z.custom<Digest>((value) => typeof value === 'string' && isDigest(value)),
  engine: z.enum(['docker', 'process']),
  environment: z.record(z.string(), z.string()),
  memoryBytes: z.int().optional(),
  nanoCpus: z.int().optional(),
  hasCallers: z.boolean(),
  hasUpload: z.boolean(),
  /** The service's port, where replicas accept connections there themselves. @default the host hands them requests */
  listensAt: z.strictObject({ host: z.string(), port: z.int() }).optional(),
});

/** How many replicas there are. */
const replicasSchema = z.strictObject({
  least: z.int().min(1),
  most: z.int().min(1),
  /** Percent. */
  targetUtilization: z.number(),
  refreshSeconds: z.number(),
  downSeconds: z.number(),
});

/** All that a host is told of its service. */
export const hostDesiredSchema = z.strictObject({
  service: z.string(),
  /** Follows from all the rest. */
  revision: z.string(),
  layoutFolder: z.string(),
  replica: replicaSchema,
  replicas: replicasSchema,
  host: z.string(),
  port: z.int(),
  concurrentMax: z.int(),
  queueWaitMs: z.int(),
  scoringTimeoutMs: z.int(),
  /** Content of the scoring server's file of who may call. */
  callers: z.string().optional(),
  /** A key or token that the host itself calls replicas with. */
  credential: z.string().optional(),
  /** Address of a storage container, signed for writing. */
  uploadUrl: z.string().optional(),
  /** Authorities that the storage's certificate is signed by, as PEM. */
  storageCa: z.string().optional(),
  tls: z.strictObject({ certificate: z.string(), key: z.string() }).optional(),
  sample: sampleSchema.optional(),
});

/** How a host and its replicas are. */
export const hostStatusSchema = z.object({
  /** Of the host: what it is told by no desired state. */
  pid: z.int(),
  /** The revision that it was told last, and whether all of it is so. */
  revision: z.string(),
  state: z.enum(serviceStates),
  reason: z.string().optional(),
  replicas: z.array(
    z.object({
      name: z.string(),
      state: z.enum(serviceStates),
      reason: z.string().optional(),
      revision: z.string(),
      outstanding: z.int(),
      restarts: z.int(),
      port: z.int(),
    }),
  ),
  wanted: z.int(),
  load: z.int(),
  answers: z.record(z.string(), z.int()),
});

export type ReplicaRange = z.infer<typeof replicasSchema>;
export type HostDesired = z.infer<typeof hostDesiredSchema>;
export type HostStatus = z.infer<typeof hostStatusSchema>;
