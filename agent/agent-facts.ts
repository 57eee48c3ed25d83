import type { AgentFacts } from '../shared/edge/reported-agent.ts';
import type { UploadRecord } from './upload-timer.ts';

/** What the hub is told of the agent itself. */
export function agentFacts(clockSkewMs: number | undefined, uploads: ReadonlyMap<string, UploadRecord>): AgentFacts {
  const lastMs = Math.max(...[...uploads.values()].filter(({ error }) => error === undefined).map(({ atMs }) => atMs));
  return {
    ...(clockSkewMs === undefined ? {} : { clockSkewSeconds: Math.round(clockSkewMs / 1000) }),
    ...(Number.isFinite(lastMs) ? { lastUploadUtc: new Date(lastMs).toISOString() } : {}),
  };
}
