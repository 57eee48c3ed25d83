import { z } from 'zod';

/** Name of the reported property of `$edgeAgent` that holds what {@link reportedScoringSchema} describes. */
export const scoringProperty = 'scoring';

/** What the scoring server of one module has done since it started. */
const figuresSchema = z.object({
  requests: z.number().nonnegative(),
  /** Requests that were answered with 5xx. */
  errors: z.number().nonnegative(),
  /** Time within which 95 of 100 were answered, in milliseconds; missing before the first. */
  p95Ms: z.number().nonnegative().optional(),
});

/** What a device reports of the scoring servers of its modules, by module. */
export const reportedScoringSchema = z.record(z.string(), figuresSchema);

/** What the scoring server of one module has done since it started. */
export type ScoringFigures = z.infer<typeof figuresSchema>;
