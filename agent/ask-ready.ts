import { askModule } from './ask-module.ts';
import type { ModuleSpec } from './module-spec.ts';

/** How long a module may take to say that it is ready, in milliseconds; it is asked again. */
const answerTimeoutMs = 2_000;
/** Most bytes of its answer. */
const answerBytesMax = 64 * 1024;

/**
 * Asks a module whether it is ready; nothing for a module without a scoring port on this machine. A module of somebody else that answers but
 * does not know the question counts as ready.
 * @see Open Inference Protocol v2, "Server Ready"
 */
export async function askReady(spec: ModuleSpec): Promise<boolean | undefined> {
  const question = { path: '/v2/health/ready', timeoutMs: answerTimeoutMs, bytesMax: answerBytesMax };
  try {
    const answer = await askModule(spec, question);
    return answer && (answer.status < 300 || answer.status === 404 || answer.status === 405);
  } catch {
    return false;
  }
}
