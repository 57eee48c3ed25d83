import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';

/** Stages that one rollout has at most. */
export const stagesMax = 20;
/** Devices that one stage names at most; more are told apart by a tag. */
export const namedDevicesMax = 50;
/** Custom metrics of one configuration, IoT Hub's limit. */
const metricsMax = 5;
const dayMs = 86_400_000;

/** Names in a tag's path that a query takes without quoting. */
const tagName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/, 'a name of a tag was wanted');

/** Who is in a stage: devices with these tags, a share of all of them, or some by name. */
const selectionSchema = z.union([
  z.strictObject({ tags: z.record(tagName, z.string().min(1)).refine((tags) => Object.keys(tags).length > 0) }),
  z.strictObject({ percent: z.number().gt(0).max(100) }),
  z.strictObject({ devices: z.array(z.string().min(1)).min(1).max(namedDevicesMax) }),
]);

const milliseconds = z
  .number()
  .int()
  .min(0)
  .max(366 * dayMs);

/** A custom metric: how many rows a query of the hub may give. */
const metricSchema = z.strictObject({ query: z.string().min(1), max: z.number().int().min(0) });

/** What has to hold of the devices that have the new version. */
const gateSchema = z.strictObject({
  /** Share of the reachable devices that must have succeeded before a stage bakes. */
  successShareMin: z.number().gt(0).max(1).default(1),
  /** Devices that may fail. */
  failuresMax: z.number().int().min(0).default(0),
  /** Times that a module of one device may have been started again. */
  restartsMax: z.number().int().min(0).default(3),
  /** Share of all scoring requests that may have failed. */
  errorRateMax: z.number().min(0).max(1).optional(),
  /** Time within which 95 of 100 requests of each device have to be answered, in milliseconds. */
  latencyMsMax: z.number().gt(0).optional(),
  /** By name; each runs on the hub. */
  metrics: z
    .record(z.string().regex(/^[A-Za-z0-9_]{1,32}$/), metricSchema)
    .refine((metrics) => Object.keys(metrics).length <= metricsMax, `${metricsMax} metrics at most were wanted`)
    .default({}),
});

const stageSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9_.%-]{1,40}$/)
    .optional(),
  select: selectionSchema,
  /** How long the stage is watched after it succeeded. */
  bakeMs: milliseconds.default(10 * 60_000),
  /** How long reachable devices may take to get there. */
  timeoutMs: milliseconds.min(1000).default(60 * 60_000),
  /** Whether the next stage waits for a person. */
  approval: z.enum(['automatic', 'manual']).default('automatic'),
});

/** What a rollout was asked to do; it never changes while it runs. */
export const rolloutRequestSchema = z.strictObject({
  /** Service, and the name of its module. */
  service: z.string(),
  /** `name:version` in the workspace that began it. */
  image: z.string(),
  /** `<registry>/<name>@sha256:…` */
  reference: z.string(),
  /** How the service runs on a device, as its record keeps it. */
  settings: z.record(z.string(), z.unknown()).default({}),
  /** Condition on devices in the hub's own words; all stages lie within it. */
  scope: z.string().min(1),
  stages: z.array(stageSchema).min(1, 'none is given (--stage), one at least was wanted').max(stagesMax),
  gate: gateSchema.prefault({}),
});

/** What a rollout was asked to do. */
export type RolloutRequest = z.infer<typeof rolloutRequestSchema>;
/** One step of it. */
export type Stage = RolloutRequest['stages'][number];
/** What has to hold of the devices that have the new version. */
export type Gate = RolloutRequest['gate'];
/** What a user gives, before defaults. */
export type RolloutInput = z.input<typeof rolloutRequestSchema>;

/**
 * Checks what was asked and fills in what was not, without looking at anything else.
 * @throws {FerryError} DEPLOYMENT_INVALID naming everything that is wrong
 */
export function checkRolloutRequest(input: unknown): RolloutRequest {
  const result = rolloutRequestSchema.safeParse(input);
  const problems = result.success
    ? stageProblems(result.data.stages)
    : result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  if (result.success && problems.length === 0) return result.data;
  throw new FerryError('DEPLOYMENT_INVALID', `Cannot roll out: ${problems.join('; ')}`);
}

/** What a stage is called: its own name, else what it selects. */
export function stageName({ name, select }: Stage): string {
  if (name !== undefined) return name;
  if ('percent' in select) return `${select.percent}%`;
  if ('devices' in select) return select.devices.length === 1 ? (select.devices[0] ?? '') : 'named';
  return Object.values(select.tags).join('-');
}

/** Percentages count all devices up to them, so they must grow. */
function stageProblems(stages: readonly Stage[]): string[] {
  const problems: string[] = [];
  let before = 0;
  for (const [index, { select }] of stages.entries()) {
    if (!('percent' in select)) continue;
    if (select.percent <= before)
      problems.push(`stages.${index}: ${select.percent} % is no more than the ${before} % before it`);
    before = select.percent;
  }
  const names = stages.map(stageName);
  for (const name of new Set(names.filter((name, index) => names.indexOf(name) !== index)))
    problems.push(`two stages are called "${name}", a name of its own was wanted for each`);
  return problems;
}
