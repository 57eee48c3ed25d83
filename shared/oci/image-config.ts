import { z } from 'zod';
import { digestSchema } from './descriptor.ts';

/**
 * What an image runs and how its layers make its root file system.
 * @see OCI image-spec 1.1, config.md
 */
export const imageConfigSchema = z
  .looseObject({
    architecture: z.string().min(1),
    os: z.string().min(1),
    variant: z.string().optional(),
    created: z.string().optional(),
    author: z.string().optional(),
    config: z
      .looseObject({
        User: z.string().optional(),
        ExposedPorts: z.record(z.string(), z.strictObject({})).nullish(),
        Env: z.array(z.string()).nullish(),
        Entrypoint: z.array(z.string()).nullish(),
        Cmd: z.array(z.string()).nullish(),
        WorkingDir: z.string().optional(),
        Labels: z.record(z.string(), z.string()).nullish(),
        StopSignal: z.string().optional(),
        Volumes: z.record(z.string(), z.strictObject({})).nullish(),
        /** Docker's own addition; durations are in nanoseconds. */
        Healthcheck: z
          .looseObject({
            Test: z.array(z.string()).readonly().nullish(),
            Interval: z.number().optional(),
            Timeout: z.number().optional(),
            StartPeriod: z.number().optional(),
            Retries: z.number().optional(),
          })
          .nullish(),
      })
      .nullish(),
    rootfs: z.strictObject({ type: z.literal('layers'), diff_ids: z.array(digestSchema) }),
    history: z
      .array(
        z.looseObject({
          created: z.string().optional(),
          created_by: z.string().optional(),
          comment: z.string().optional(),
          empty_layer: z.boolean().optional(),
        }),
      )
      .optional(),
  })
  .readonly();

export type ImageConfig = z.infer<typeof imageConfigSchema>;
