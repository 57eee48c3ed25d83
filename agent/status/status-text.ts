import { bytesText, fields, table } from '../../shared/text-layout.ts';
import type { AgentStatus } from './agent-status.ts';

/** Lays an agent's status out for people. @param nowMs by this machine's clock, in milliseconds since 1970 */
export function statusText(status: AgentStatus, nowMs: number): string {
  const { connection, deployment } = status;
  const head = fields({
    device: status.deviceId,
    hub: `${status.hub}, ${connection.isUp ? 'connected' : 'not connected'} for ${since(connection.since, nowMs)}`,
    'last error': connection.lastError,
    'clock skew': connection.clockSkewMs === undefined ? undefined : `${Math.round(connection.clockSkewMs / 1000)} s`,
    deployment: deploymentText(deployment),
    agent: `version ${status.version}, up for ${since(status.startedAt, nowMs)}, ${bytesText(status.residentBytes)} of memory`,
    engine: status.engine,
    'edge hub': deployment.wantsEdgeHub ? 'not run: this agent has none, and carries out no routes' : undefined,
    'free disk': bytesText(status.freeDiskBytes),
  });
  const modules = status.modules.map(({ name, status: state, restartCount, startedAt, image }) => [
    name,
    state,
    startedAt === undefined ? '' : since(startedAt, nowMs),
    restartCount,
    image,
  ]);
  const pulls = status.pulls.map(({ image, gotBytes, totalBytes }) => [
    image,
    `${Math.floor((100 * gotBytes) / totalBytes)} %`,
    `${bytesText(gotBytes)} of ${bytesText(totalBytes)}`,
  ]);
  const uploads = status.uploads.map(({ module, at, rows, error }) => [
    module,
    since(at, nowMs),
    error === undefined ? `${rows} rows` : `failed: ${error}`,
  ]);
  const buffers = Object.entries(status.collection).map(([module, { bufferedBytes, streams }]) => {
    const all = Object.values(streams);
    const sum = (count: (stream: (typeof all)[number]) => number): number =>
      all.reduce((rows, stream) => rows + count(stream), 0);
    return [
      module,
      bytesText(bufferedBytes),
      sum(({ buffered }) => buffered),
      sum(({ uploaded }) => uploaded),
      sum(({ quarantined }) => quarantined),
      sum(({ dropped }) => Object.values(dropped).reduce((rows, reason) => rows + reason, 0)),
    ];
  });
  return [
    head,
    ...section(['module', 'state', 'for', 'restarts', 'image'], modules),
    ...section(['pulling', 'done', 'bytes'], pulls),
    ...section(['buffer of', 'size', 'rows', 'uploaded', 'quarantined', 'dropped'], buffers),
    ...section(['upload of', 'ago', 'result'], uploads),
  ].join('\n\n');
}

function section(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  return rows.length === 0 ? [] : [table(headings, rows)];
}

function deploymentText({ version, code, description, isOnProbation, hasFallback }: AgentStatus['deployment']): string {
  const outcome = code === 200 ? 'running as desired' : `${code} ${description}`;
  const probation = isOnProbation ? `, on probation${hasFallback ? ' with one to go back to' : ''}` : '';
  return `version ${version}, ${outcome}${probation}`;
}

/** Writes for how long something has been so: `3 d 4 h`, `12 min`, `5 s`. */
function since(time: string, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - Date.parse(time)) / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
