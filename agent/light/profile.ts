import { z } from 'zod';

const ms = z.number().nonnegative();

/** What goes wrong with a light device for a while. Times count from the begin of the run. */
const troubleSchema = z.object({
  /**
   * `offline`: its link is down. `crash`: its modules end by themselves again and again. `power cut`: it is off. `disk full`: images do not
   * fit on it. `wrong clock`: its clock is off by `clockOffMs`.
   */
  kind: z.enum(['offline', 'crash', 'power cut', 'disk full', 'wrong clock']),
  fromMs: ms,
  toMs: ms,
  clockOffMs: z.number().default(0),
});

/** How a light device and its place in the world are. */
export const profileSchema = z.object({
  connectionString: z.string(),
  /** Of all that is left to chance on it. */
  seed: z.int().nonnegative(),
  /** When it is first switched on. */
  startMs: ms,
  network: z.object({
    /** Of a message and the answer to it. */
    roundTripMs: ms,
    /** Share of messages that have to be sent again, from 0 to 1. */
    lossShare: z.number().min(0).max(0.9),
    bytesPerSecond: z.number().positive(),
    /** It is up and down by turns. */
    flapping: z.object({ upMs: z.number().positive(), downMs: z.number().positive(), phaseMs: ms }).optional(),
  }),
  /** How long modules take from their start until they are ready. */
  readyMs: ms,
  rowsPerHour: ms,
  /** How often collected rows are sent, and when first. */
  uploadEveryMs: z.number().positive(),
  uploadFirstMs: ms,
  troubles: z.array(troubleSchema),
});

/** How a light device and its place in the world are. */
export type Profile = z.infer<typeof profileSchema>;

/** What goes wrong with a light device for a while. */
export type Trouble = z.infer<typeof troubleSchema>;

/** What an image is, for devices that run none. */
export const imageSchema = z.object({
  /** Bytes that are pulled where nothing of it is there, and where an earlier image of the same repository is. */
  bytes: z.number().positive(),
  changedBytes: z.number().positive(),
  /** What comes of running it. */
  behaviour: z.enum(['good', 'crashes', 'never ready', 'scores wrong']).default('good'),
});

/** What images are, by the name that deployments give them. */
export type Images = ReadonlyMap<string, z.infer<typeof imageSchema>>;
