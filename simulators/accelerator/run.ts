import { once } from 'node:events';
import { createLogger } from '../../shared/log.ts';
import { type AcceleratorOptions, startAccelerator } from './accelerator.ts';

/** Runs a simulated accelerator until the process is told to end. */
export async function runAccelerator(options: Omit<AcceleratorOptions, 'log'>): Promise<void> {
  const log = createLogger('accelerator', { level: 'warn' });
  const stop = new AbortController();
  const stopped = once(stop.signal, 'abort');
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  await using accelerator = await startAccelerator({ ...options, log });
  process.stdout.write(`${JSON.stringify({ url: accelerator.url, simulated: true })}\n`);
  await stopped;
}
