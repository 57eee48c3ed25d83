import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { clearImages } from '../../agent/images/clear-images.ts';
import { ImageStore } from '../../agent/images/image-store.ts';
import { ImageUsage } from '../../agent/images/image-usage.ts';
import { systemClock } from '../../shared/clock.ts';
import { ProcessEngine } from '../../shared/containers/process/process-engine.ts';
import { createLogger } from '../../shared/log.ts';

// Clears the images of a folder as an agent does that has run for eight days, and is killed at a step: what it asks of the disk, before or
// after that is done. Says how many steps there were when it comes to its end.
const [folder = '', killAt = '0'] = process.argv.slice(2);
let steps = 0;

type Callable = (this: unknown, ...given: unknown[]) => Promise<unknown>;

function step(): void {
  steps += 1;
  if (steps === Number(killAt)) process.kill(process.pid, 'SIGKILL');
}

const functions = fs as unknown as Record<string, Callable>;
for (const name of ['rename', 'rm', 'unlink', 'rmdir', 'open', 'mkdir', 'writeFile', 'readdir']) {
  const real = functions[name];
  if (real === undefined) throw new Error(`There is no ${name}() to step around`);
  functions[name] = function stepping(...given) {
    step();
    return real.apply(this, given).finally(step);
  };
}
syncBuiltinESMExports();

const log = createLogger('clearing', { level: 'silent' });
const images = await ImageStore.open(join(folder, 'images'), { clock: systemClock, log });
const engine = await ProcessEngine.open({ layout: images.layout, folder, log });
const usage = await ImageUsage.open(join(folder, 'image-usage.json'));
const inEightDays = { ...systemClock, nowMs: () => systemClock.nowMs() + 8 * 24 * 3_600_000 };
await clearImages({ engine, images, usage, clock: inEightDays, log });
console.log(steps);
