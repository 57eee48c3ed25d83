import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerInstances } from '../../azure/container-instances.ts';
import type { ServiceLogOptions } from '../deployer.ts';
import { containerName } from './container-group.ts';

/** How often it is looked for new lines, in milliseconds: Azure has no stream of them. */
const everyMs = 1_000;

/** Gives the lines of a group's output, and goes on with those that come where that is wanted. */
export async function* followLogs(
  instances: ContainerInstances,
  group: string,
  { tail, follow, signal }: ServiceLogOptions,
): AsyncGenerator<string, void, void> {
  let seen = await instances.logs(group, containerName);
  yield* linesOf(seen).slice(-tail);
  if (!follow) return;
  while (!signal.aborted) {
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const now = await instances.logs(group, containerName);
    // Another run of the container, or so much output that its beginning is no longer given: then it is told whole.
    yield* linesOf(now.startsWith(seen) ? now.slice(seen.length) : now);
    seen = now;
  }
}

function linesOf(text: string): string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines;
}
