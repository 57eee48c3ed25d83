import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { type AgentStatus, agentStatusSchema } from './agent-status.ts';

/** How long the agent may take to answer, in milliseconds. */
const answerTimeoutMs = 5_000;

/**
 * Asks the agent of a folder how it is.
 * @throws {FerryError} AGENT_UNREACHABLE when none runs on the folder, or this user may not ask it
 */
export async function askStatus(folder: string, socketPath: string): Promise<AgentStatus> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const asking = request(
    { socketPath, path: '/status', agent: false, signal: AbortSignal.timeout(answerTimeoutMs) },
    (answer) => void text(answer).then((body) => resolve(JSON.parse(body)), reject),
  );
  asking.on('error', reject);
  asking.end();
  try {
    return agentStatusSchema.parse(await promise);
  } catch (cause) {
    const isForbidden = systemCodeOf(cause) === 'EACCES';
    throw new FerryError(
      'AGENT_UNREACHABLE',
      `Cannot ask the agent of "${folder}": ${isForbidden ? 'this user may not' : 'none answers there'}`,
      { cause, next: isForbidden ? 'Ask as the user that it runs as.' : 'Is it started? `ferry agent run --help`' },
    );
  }
}
