import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { StoredBlob } from '../../agent/collect/collect-rig.ts';
import { Random } from '../../random.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { DiskImage } from './disk-image.ts';
import { canTrace, type DiskEvent, traceDisk } from './disk-trace.ts';
import { expectNothingLost, type Said } from './expect-nothing-lost.ts';

/** `CRASH_SEED=7 CRASH_POINTS=20000 npx vitest run … power-cut` goes through these again, or through more. */
const seed = Number(process.env['CRASH_SEED'] ?? Date.now() % 1_000_000);
const points = Number(process.env['CRASH_POINTS'] ?? 300);
const runs = 6;
const stepsOfRun = 40;
/** A run that does less has not been traced. */
const eventsMin = 300;

const program = fileURLToPath(new URL('./collecting-steps-process.ts', import.meta.url));

test.skipIf(!canTrace)(
  `after a kill or a power cut at any system call nothing counted is lost or twice (CRASH_SEED=${seed})`,
  { timeout: 120_000 + points * 200 },
  async () => {
    await using folder = await temporaryFolder();
    await using memory = await temporaryFolder(existsSync('/dev/shm') ? '/dev/shm' : undefined);
    for (let run = 0; run < runs; run += 1) {
      const origin = join(folder.path, `run-${run}`);
      await mkdir(origin);
      const events = await traceDisk(origin, [program, origin, String(seed + run), String(stepsOfRun)]);
      await expectToSurvive(events, { origin, found: join(memory.path, 'found'), random: new Random(seed + run) });
    }
  },
);

async function expectToSurvive(
  events: readonly DiskEvent[],
  { origin, found, random }: { readonly origin: string; readonly found: string; readonly random: Random },
): Promise<void> {
  expect(events.length, 'what a run does to the disk').toBeGreaterThan(eventsMin);
  const chosen = new Map<number, number>();
  for (let point = 0; point < points / runs; point += 1) {
    const at = random.below(events.length);
    chosen.set(at, (chosen.get(at) ?? 0) + 1);
  }
  const image = new DiskImage(origin);
  const stored = new Map<string, StoredBlob>();
  let counted = 0;
  for (const [at, event] of events.entries()) {
    image.apply(event);
    if (event.kind === 'said') {
      const said = JSON.parse(event.text) as Said;
      if ('counted' in said) counted = said.counted;
      else stored.set(said.stored.name, said.stored);
    }
    for (let crash = 0; crash < (chosen.get(at) ?? 0); crash += 1) {
      if (random.oneIn(4)) await image.afterKill(found);
      else await image.afterPowerCut(found, random);
      await expectNothingLost(found, { counted, stored });
    }
  }
}
