import { z } from 'zod';
import { ledgersProperty, reportedLedgersSchema } from '../../../shared/collect/reported-ledger.ts';
import { type AgentFacts, agentFactsSchema, agentProperty } from '../../../shared/edge/reported-agent.ts';
import { reportedScoringSchema, type ScoringFigures, scoringProperty } from '../../../shared/edge/reported-scoring.ts';
import type { HubTwin } from '../../azure/hub-resources.ts';

/** What a device says of one module. */
export interface ModuleReport {
  /** `running`, `stopped`, `backoff`, `unhealthy`, `failed`, `dead`, `unknown`. */
  readonly runtimeStatus: string;
  readonly statusDescription: string;
  readonly exitCode: number | undefined;
  readonly restartCount: number;
  readonly image: string | undefined;
}

/** What the `$edgeAgent` twin of a device says: what was asked of it, and what it made of that. */
export interface DeviceReport {
  readonly deviceId: string;
  readonly connected: boolean;
  /** When the hub last heard of its agent, ISO 8601; undefined when it never did. */
  readonly lastActivity: string | undefined;
  readonly desiredVersion: number;
  /** The modules that are asked for, as they went over the wire. */
  readonly desiredModules: Readonly<Record<string, unknown>>;
  /** Their images. */
  readonly desiredImages: Readonly<Record<string, string>>;
  /** Version of the desired properties that the device attempted last; undefined when it never did. */
  readonly attemptedVersion: number | undefined;
  /** Outcome of that attempt: 200 done, 400 wrong manifest, 406 agent not running, 412 wrong schema, 417 empty, 500 failed. */
  readonly outcome: { readonly code: number; readonly description: string } | undefined;
  readonly modules: Readonly<Record<string, ModuleReport>>;
  /** Architecture of the device as it calls it, such as `x86_64`. */
  readonly architecture: string | undefined;
  /** What the scoring server of each module has done since it started, as far as the device tells. */
  readonly scoring: Readonly<Record<string, ScoringFigures>>;
  /** What the agent tells of itself. */
  readonly facts: AgentFacts;
  /** Rows that modules have collected and that are still on the device. */
  readonly bufferedRows: number;
  /** Deployments that mean the device, by id: `Applied` or `Targeted`. */
  readonly deployments: Readonly<Record<string, string>>;
}

const moduleSchema = z.object({
  runtimeStatus: z.string().catch('unknown'),
  statusDescription: z.string().nullish().catch(null),
  exitCode: z.number().optional().catch(undefined),
  restartCount: z.number().catch(0),
  settings: z.object({ image: z.string().optional() }).optional().catch(undefined),
});

/** Reported properties of `$edgeAgent`; a part that is not as it should be counts as not reported, for the device wrote it. */
const reportedSchema = z.object({
  lastDesiredVersion: z.number().optional().catch(undefined),
  lastDesiredStatus: z.object({ code: z.number(), description: z.string().nullish() }).optional().catch(undefined),
  runtime: z
    .object({ platform: z.object({ architecture: z.string().optional() }).optional() })
    .optional()
    .catch(undefined),
  modules: z.record(z.string(), z.unknown()).catch({}),
  [scoringProperty]: reportedScoringSchema.catch({}),
  [agentProperty]: agentFactsSchema.catch({}),
  [ledgersProperty]: reportedLedgersSchema.catch({}),
});

const modulesSchema = z.record(z.string(), z.unknown()).catch({});

const desiredSchema = z.object({
  $version: z.number().catch(0),
  modules: z.record(z.string(), z.object({ settings: z.object({ image: z.string() }) })).catch({}),
});

/** Reads the twin of a device's `$edgeAgent`. */
export function deviceReportOf(twin: HubTwin): DeviceReport {
  const desired = desiredSchema.parse(twin.properties.desired);
  const reported = reportedSchema.parse(twin.properties.reported);
  const status = reported.lastDesiredStatus;
  const entries = Object.entries(desired.modules).map(([name, { settings }]) => [name, settings.image]);
  return {
    deviceId: twin.deviceId,
    connected: twin.connectionState === 'Connected',
    lastActivity: heardOf(twin.lastActivityTime),
    desiredVersion: desired.$version,
    desiredModules: modulesSchema.parse(twin.properties.desired['modules']),
    desiredImages: Object.fromEntries(entries) as Record<string, string>,
    attemptedVersion: reported.lastDesiredVersion,
    outcome: status && { code: status.code, description: status.description ?? '' },
    modules: modulesOf(reported.modules),
    architecture: reported.runtime?.platform?.architecture,
    scoring: reported[scoringProperty],
    facts: reported[agentProperty],
    bufferedRows: Object.values(reported[ledgersProperty])
      .flatMap(({ streams }) => Object.values(streams))
      .reduce((rows, { buffered }) => rows + buffered, 0),
    deployments: Object.fromEntries(Object.entries(twin.configurations ?? {}).map(([id, { status }]) => [id, status])),
  };
}

/** Reads the twins of many devices' `$edgeAgent`, by device id. */
export function deviceReportsOf(twins: readonly HubTwin[]): Map<string, DeviceReport> {
  return new Map(twins.map((twin) => [twin.deviceId, deviceReportOf(twin)]));
}

/** A hub writes the year 1 for never. */
function heardOf(time: string | null | undefined): string | undefined {
  return time === undefined || time === null || time.startsWith('0001-') ? undefined : time;
}

function modulesOf(reported: Readonly<Record<string, unknown>>): Record<string, ModuleReport> {
  const modules: Record<string, ModuleReport> = {};
  for (const [name, value] of Object.entries(reported)) {
    const module = moduleSchema.safeParse(value).data;
    if (module === undefined) continue;
    const { runtimeStatus, statusDescription, exitCode, restartCount, settings } = module;
    const description = statusDescription ?? '';
    modules[name] = { runtimeStatus, statusDescription: description, exitCode, restartCount, image: settings?.image };
  }
  return modules;
}
