import { statfs } from 'node:fs/promises';
import { z } from 'zod';
import { type ReportedLedgers, reportedLedgersSchema } from '../../shared/collect/reported-ledger.ts';
import type { Generations } from '../generations.ts';
import type { HubConnection } from '../hub/hub.ts';
import type { Pull } from '../images/image-store.ts';
import type { Look } from '../reconciler.ts';
import type { UploadRecord } from '../upload-timer.ts';

/** How an agent is, as it tells on its own device. */
export const agentStatusSchema = z.object({
  version: z.string(),
  deviceId: z.string(),
  hub: z.string(),
  engine: z.string(),
  /** ISO 8601, as all times here. */
  startedAt: z.string(),
  connection: z.object({
    isUp: z.boolean(),
    since: z.string(),
    lastError: z.string().optional(),
    /** How far this machine's clock is ahead of the hub's, in milliseconds; absent while the hub has not been asked. */
    clockSkewMs: z.number().optional(),
  }),
  deployment: z.object({
    version: z.number(),
    code: z.number(),
    description: z.string(),
    /** Whether what is in force has still to prove itself, and whether there is something to go back to. */
    isOnProbation: z.boolean(),
    hasFallback: z.boolean(),
    /** Whether it wants an edge hub, which this agent does not run: routes between modules are not carried out. */
    wantsEdgeHub: z.boolean(),
  }),
  modules: z.array(
    z.object({
      name: z.string(),
      status: z.string(),
      image: z.string(),
      restartCount: z.number(),
      startedAt: z.string().optional(),
    }),
  ),
  pulls: z.array(z.object({ image: z.string(), gotBytes: z.number(), totalBytes: z.number() })),
  uploads: z.array(
    z.object({
      module: z.string(),
      at: z.string(),
      rows: z.number(),
      /** Why the last one failed. */
      error: z.string().optional(),
    }),
  ),
  /** What modules have collected and what became of it, by module. */
  collection: reportedLedgersSchema,
  residentBytes: z.number(),
  freeDiskBytes: z.number(),
});

/** See {@link agentStatusSchema}. */
export type AgentStatus = z.infer<typeof agentStatusSchema>;

/** Where an agent's status comes from. */
export interface StatusSources {
  readonly version: string;
  readonly deviceId: string;
  readonly hub: string;
  readonly engine: string;
  readonly startedAt: string;
  readonly stateFolder: string;
  readonly connection: () => HubConnection & { readonly clockSkewMs?: number };
  readonly generations: Pick<Generations, 'isOnProbation' | 'hasFallback'>;
  readonly look: () => Look | undefined;
  readonly pulls: () => readonly Pull[];
  readonly uploads: () => readonly UploadRecord[];
  readonly collection: () => ReportedLedgers;
}

/** Says how the agent is. */
export async function readAgentStatus(sources: StatusSources): Promise<AgentStatus> {
  const { version, deviceId, hub, engine, startedAt, stateFolder, generations } = sources;
  const { isUp, sinceMs, lastError, clockSkewMs } = sources.connection();
  const look = sources.look();
  const { bavail, bsize } = await statfs(stateFolder);
  return {
    version,
    deviceId,
    hub,
    engine,
    startedAt,
    connection: {
      isUp,
      since: new Date(sinceMs).toISOString(),
      ...(lastError === undefined ? {} : { lastError }),
      ...(clockSkewMs === undefined ? {} : { clockSkewMs }),
    },
    deployment: {
      version: look?.lastDesiredVersion ?? 0,
      code: look?.status.code ?? 406,
      description: look?.status.description ?? '',
      isOnProbation: look?.desired !== undefined && generations.isOnProbation,
      hasFallback: generations.hasFallback,
      // Every manifest does: Microsoft's runtime takes none without.
      wantsEdgeHub: look?.desired !== undefined,
    },
    modules: modulesOf(look),
    pulls: sources.pulls().map(({ image, gotBytes, totalBytes }) => ({ image, gotBytes, totalBytes })),
    uploads: sources.uploads().map(({ module, atMs, rows, error }) => ({
      module,
      at: new Date(atMs).toISOString(),
      rows,
      ...(error === undefined ? {} : { error }),
    })),
    collection: sources.collection(),
    residentBytes: process.memoryUsage.rss(),
    freeDiskBytes: bavail * bsize,
  };
}

/** Gives the modules that there are, and those that are wanted and not there yet. */
function modulesOf(look: Look | undefined): AgentStatus['modules'] {
  const wanted = look?.desired?.modules ?? [];
  const containers = look?.containers ?? [];
  const names = new Set([...wanted.map(({ name }) => name), ...containers.map(({ name }) => name)]);
  return [...names].toSorted().map((name) => {
    const container = containers.find((one) => one.name === name);
    const image = wanted.find((spec) => spec.name === name)?.image ?? '';
    return {
      name,
      status: container?.status ?? 'not there yet',
      image,
      restartCount: look?.observed.get(name)?.restartCount ?? 0,
      ...(container?.startedAt === undefined ? {} : { startedAt: container.startedAt }),
    };
  });
}
