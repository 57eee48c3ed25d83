import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../../shared/durable-file.ts';
import { systemCodeOf } from '../../shared/errors.ts';

/** What must be the same after a restart, since deployments and connection strings name it. Port 0 takes a free one. */
const keptSchema = z.strictObject({
  ports: z.strictObject({
    registry: z.int(),
    storage: z.int(),
    hub: z.int(),
    arm: z.int().default(0),
    // Worlds of before had no cluster.
    kubernetes: z.int().default(0),
  }),
  storage: z.strictObject({ accountKey: z.string().optional() }),
});

type Kept = z.infer<typeof keptSchema>;

const nothingYet: Kept = { ports: { registry: 0, storage: 0, hub: 0, arm: 0, kubernetes: 0 }, storage: {} };

/** Reads what an earlier run has kept; a first run finds free ports and no keys. */
export async function readKept(folder: string): Promise<Kept> {
  try {
    return keptSchema.parse(JSON.parse(await readFile(join(folder, 'world.json'), 'utf8')));
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return nothingYet;
    throw error;
  }
}

/** Keeps it for the next run; the file holds a key, so it is its owner's alone. */
export async function writeKept(folder: string, kept: Kept): Promise<void> {
  await writeDurably(join(folder, 'world.json'), `${JSON.stringify(kept, undefined, 2)}\n`, { mode: 0o600 });
}
