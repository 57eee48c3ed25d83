import { z } from 'zod';

/** Azure ML v1's names of frameworks (azureml-core, `Model.Framework`). */
export const frameworks = ['Custom', 'Multi', 'Onnx', 'PyTorch', 'ScikitLearn', 'TensorFlow', 'TfKeras'] as const;

/** Where a model comes from; all of it is what the one who registers it says. */
export const lineageSchema = z.strictObject({
  framework: z.enum(frameworks).optional(),
  frameworkVersion: z.string().min(1).max(255).optional(),
  experiment: z.string().min(1).max(255).optional(),
  runId: z.string().min(1).max(255).optional(),
  /** Commit of the code that made it. */
  gitCommit: z
    .string()
    .regex(/^[0-9a-f]{7,64}$/)
    .optional(),
  /** Data that it was made with, by what it was used for: `training`, `validation`. */
  datasets: z.record(z.string(), z.string()).optional(),
});

export type Lineage = z.infer<typeof lineageSchema>;
