import * as z from 'zod';
import { signatureSchema } from './signature.ts';

/** Where in an image the scoring server finds its {@link ServiceConfig}. */
export const serviceConfigPath = '/app/service.json';

/** One model of an image. */
const serviceModelSchema = z.strictObject({
  name: z.string().min(1),
  version: z.int().positive(),
  format: z.literal('onnx'),
  /** Absolute path of the model's main file in the image. */
  path: z.string().startsWith('/models/'),
  signature: signatureSchema,
});

/** What an image serves; the image builder writes it, the scoring server reads it. */
export const serviceConfigSchema = z.strictObject({
  schemaVersion: z.literal(1),
  /** Empty only where a script answers. */
  models: z.array(serviceModelSchema),
});

export type ServiceModel = z.infer<typeof serviceModelSchema>;
/** What is scored as a model: one of the image's, or a script. */
export type ScoredModel = Pick<ServiceModel, 'name' | 'version' | 'signature'>;
export type ServiceConfig = z.infer<typeof serviceConfigSchema>;
