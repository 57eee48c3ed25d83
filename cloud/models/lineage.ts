import { z } from 'zod';
import type { Pairs } from './labels.ts';

/** Azure ML v1's names of frameworks (azureml-core, `Model.Framework`). */
export const frameworks = ['Custom', 'Multi', 'Onnx', 'PyTorch', 'ScikitLearn', 'TensorFlow', 'TfKeras'] as const;

const nameSchema = z.string().min(1).max(255);

/** Where a model comes from: what the one who registers it says, and what Git knows. */
export const lineageSchema = z.strictObject({
  framework: z.enum(frameworks).optional(),
  frameworkVersion: nameSchema.optional(),
  experiment: nameSchema.optional(),
  runId: nameSchema.optional(),
  /** Commit of the code that made it. */
  gitCommit: z
    .string()
    .regex(/^[0-9a-f]{7,64}$/)
    .optional(),
  gitBranch: nameSchema.optional(),
  /** Whether files of that commit were changed. */
  gitDirty: z.boolean().optional(),
  /** Address of the repository, without secrets. */
  gitRepository: z.string().min(1).max(1024).optional(),
  /** Data that it was made with, by what it was used for: `training`, `validation`. */
  datasets: z.record(z.string(), z.string()).optional(),
});

export type Lineage = z.infer<typeof lineageSchema>;

/** Names of the properties that hold the fields of a lineage. */
const propertyNames: Readonly<Record<Exclude<keyof Lineage, 'datasets'>, string>> = {
  framework: 'framework',
  frameworkVersion: 'framework.version',
  experiment: 'experiment',
  runId: 'run.id',
  gitCommit: 'git.commit',
  gitBranch: 'git.branch',
  gitDirty: 'git.dirty',
  gitRepository: 'git.repository',
};

/** Gives a lineage as properties, so that models are found by it and it stays for good. */
export function lineageProperties({ datasets = {}, ...fields }: Lineage): Pairs {
  const entries = Object.entries(propertyNames).flatMap(([field, name]) => {
    const value = fields[field as keyof typeof fields];
    return value === undefined ? [] : [[name, String(value)]];
  });
  return Object.fromEntries([...entries, ...Object.entries(datasets).map(([use, id]) => [`dataset.${use}`, id])]);
}
