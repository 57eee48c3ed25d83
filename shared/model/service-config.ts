import { z } from 'zod';
import { signatureSchema } from './signature.ts';

/** Where in an image the scoring server finds its {@link ServiceConfig}. */
export const serviceConfigPath = '/app/service.json';

/** A graph that was optimised when the image was built. */
const optimizedGraphSchema = z.strictObject({
  /** Absolute path in the image. */
  path: z.string().startsWith('/models/'),
  /** Version of the runtime that it was made by; another one uses the original. */
  runtime: z.string().min(1),
  /** Kind of processor that it is laid out for; another one uses the original. */
  processor: z.string().min(1),
});

/** One model of an image. */
const serviceModelSchema = z.strictObject({
  name: z.string().min(1),
  version: z.int().positive(),
  format: z.literal('onnx'),
  /** Absolute path of the model's main file in the image. */
  path: z.string().startsWith('/models/'),
  signature: signatureSchema,
  optimized: optimizedGraphSchema.optional(),
});

/** What an image serves; the image builder writes it, the scoring server reads it. */
export const serviceConfigSchema = z.strictObject({
  schemaVersion: z.literal(1),
  models: z.array(serviceModelSchema).min(1),
});

export type OptimizedGraph = z.infer<typeof optimizedGraphSchema>;
export type ServiceModel = z.infer<typeof serviceModelSchema>;
export type ServiceConfig = z.infer<typeof serviceConfigSchema>;
