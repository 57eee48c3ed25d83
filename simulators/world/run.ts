import { createLogger } from '../../shared/log.ts';
import { startWorld, type WorldOptions } from './world.ts';

/**
 * Runs the local world until SIGINT, SIGTERM, or the end of standard input: whoever started it holds the other end of that,
 * and so it never outlives them. Prints its endpoints as one line of JSON when all of it is ready.
 */
export async function runWorld(options: Omit<WorldOptions, 'log'>): Promise<void> {
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  process.stdin.once('end', stop).once('error', stop).resume();
  await using world = await startWorld({ ...options, log: createLogger('world', { level: 'warn' }) });
  process.stdout.write(`${JSON.stringify(world.endpoints)}\n`);
  await stopped;
}
