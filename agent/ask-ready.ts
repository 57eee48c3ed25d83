import { request } from 'node:http';
import type { ModuleSpec } from './module-spec.ts';

/** The port that a scoring image exposes. */
const scoringPort = '5001/tcp';
/** How long a module may take to say that it is ready, in milliseconds; it is asked again. */
const answerTimeoutMs = 2_000;

/**
 * Asks a module whether it is ready, on the port of this machine that its scoring port is bound to; nothing for a module without. A module of
 * somebody else that answers but does not know the question counts as ready.
 * @see Open Inference Protocol v2, "Server Ready"
 */
export async function askReady({ createOptions }: ModuleSpec): Promise<boolean | undefined> {
  const binding = createOptions.HostConfig?.PortBindings?.[scoringPort]?.[0];
  if (!binding?.HostPort) return undefined;
  const anywhere = [undefined, '', '0.0.0.0', '::'].includes(binding.HostIp);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const asking = request(
    {
      host: anywhere ? '127.0.0.1' : binding.HostIp,
      port: binding.HostPort,
      path: '/v2/health/ready',
      agent: false,
      signal: AbortSignal.timeout(answerTimeoutMs),
    },
    (answer) => {
      answer.resume();
      const status = answer.statusCode ?? 0;
      resolve(status < 300 || status === 404 || status === 405);
    },
  );
  asking.on('error', () => resolve(false));
  asking.end();
  return promise;
}
