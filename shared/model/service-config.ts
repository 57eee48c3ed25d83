import * as z from 'zod';
import { signatureSchema } from './signature.ts';

/** Where in an image the scoring server finds its {@link ServiceConfig}. */
export const serviceConfigPath = '/app/service.json';

/** Largest sample with its answer that goes into an image, in bytes of JSON: a device that proves an image reads it whole. */
export const imageSampleBytesMax = 64 * 1024;

/** The id of a request that proves a service by its sample: nothing is collected of it. */
export const sampleRequestId = 'modelferry-sample';

/** A request to score, and what it gave when the model was registered. */
const imageSampleSchema = z.strictObject({
  input: z.record(z.string(), z.unknown()),
  output: z.record(z.string(), z.unknown()),
});

/** One model of an image. */
const serviceModelSchema = z.strictObject({
  name: z.string().min(1),
  version: z.int().positive(),
  format: z.literal('onnx'),
  /** Absolute path of the model's main file in the image. */
  path: z.string().startsWith('/models/'),
  signature: signatureSchema,
  /** By which a device proves the image; only of the model behind `/score`, and of none where a script answers. */
  sample: imageSampleSchema.optional(),
});

/** What an image serves; the image builder writes it, the scoring server reads it. */
export const serviceConfigSchema = z.strictObject({
  schemaVersion: z.literal(1),
  /** Empty only where a script answers. */
  models: z.array(serviceModelSchema),
});

export type ImageSample = z.infer<typeof imageSampleSchema>;
export type ServiceModel = z.infer<typeof serviceModelSchema>;
/** What is scored as a model: one of the image's, or a script. */
export type ScoredModel = Pick<ServiceModel, 'name' | 'version' | 'signature'>;
export type ServiceConfig = z.infer<typeof serviceConfigSchema>;
