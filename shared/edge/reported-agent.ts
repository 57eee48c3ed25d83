import { z } from 'zod';

/** Name of the reported property of `$edgeAgent` that holds what {@link agentFactsSchema} describes. */
export const agentProperty = 'modelferry';

/** What an agent reports of itself beyond what IoT Edge's does. */
export const agentFactsSchema = z.object({
  /** How far the device's clock is ahead of the hub's, in whole seconds; missing while that has not been measured. */
  clockSkewSeconds: z.int().optional(),
  /** When collected rows were last sent, ISO 8601 by the device's clock; missing before the first time. */
  lastUploadUtc: z.string().optional(),
  /** Why modules took their place without having run beside the one before, by module; missing where there is none. */
  unproven: z.record(z.string(), z.string()).optional(),
});

/** What an agent reports of itself beyond what IoT Edge's does. */
export type AgentFacts = z.infer<typeof agentFactsSchema>;
