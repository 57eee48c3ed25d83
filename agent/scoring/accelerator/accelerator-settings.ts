import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';

/** The accelerator that models run on: a runtime beside this server, which speaks the Open Inference Protocol over REST. */
export interface AcceleratorSettings {
  /** Where the runtime is, without `/v2`. */
  readonly url: string;
  /** What the runtime calls the model. @default as it is called here */
  readonly model: string | undefined;
  /** Share of the model's nodes, 0 to 1, that the accelerator has to run for this server to be ready. @default none has to */
  readonly shareMin: number;
  /** Requests that are at the runtime at a time; others wait here, where they are counted and have deadlines. */
  readonly concurrency: number;
  /** How often the runtime is asked what it has. */
  readonly askEveryMs: number;
}

/** Variables of the environment. */
export const acceleratorEnvironment = {
  MODELFERRY_ACCELERATOR_URL: z.url({ protocol: /^https?$/ }).optional(),
  MODELFERRY_ACCELERATOR_MODEL: z.string().min(1).optional(),
  MODELFERRY_ACCELERATOR_SHARE_MIN: z.coerce.number().min(0).max(1).optional(),
  // Two: while the card is at one, the next is on its way.
  MODELFERRY_ACCELERATOR_CONCURRENCY: z.coerce.number().int().min(1).max(1024).default(2),
  MODELFERRY_ACCELERATOR_ASK_EVERY_MS: z.coerce.number().int().min(10).max(3_600_000).default(2000),
};

const environmentSchema = z.object(acceleratorEnvironment);

/**
 * Finds out which accelerator the models run on.
 * @returns undefined where they run here
 * @throws {FerryError} USAGE when something is said of an accelerator, but not where it is
 */
export function acceleratorSettings(given: z.infer<typeof environmentSchema>): AcceleratorSettings | undefined {
  const { MODELFERRY_ACCELERATOR_URL: url, MODELFERRY_ACCELERATOR_SHARE_MIN: shareMin } = given;
  const model = given.MODELFERRY_ACCELERATOR_MODEL;
  if (url !== undefined) {
    return {
      url: url.replace(/\/+$/, ''),
      model,
      shareMin: shareMin ?? 0,
      concurrency: given.MODELFERRY_ACCELERATOR_CONCURRENCY,
      askEveryMs: given.MODELFERRY_ACCELERATOR_ASK_EVERY_MS,
    };
  }
  if (model === undefined && shareMin === undefined) return undefined;
  throw new FerryError(
    'USAGE',
    'Cannot use an accelerator: MODELFERRY_ACCELERATOR_URL is not set, the address of its runtime was wanted',
  );
}
