import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { MethodAnswer, MethodContext } from './method.ts';

/** Takes collected rows that storage had refused too often back into the queue, of all modules: the next upload tries them anew. */
export async function releaseQuarantined(_payload: unknown, { modulesFolder }: MethodContext): Promise<MethodAnswer> {
  const { releaseQuarantine } = await import('../collect/release-quarantine.ts');
  const modules = await readdir(modulesFolder).catch(() => []);
  const rows = modules.map((module) => releaseQuarantine(join(modulesFolder, module, 'data', 'collect.db')));
  return { status: 200, payload: { rows: rows.reduce((sum, released) => sum + released, 0) } };
}
