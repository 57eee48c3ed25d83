import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import Database from 'better-sqlite3';

// Loaded before a program (`node --import`): kills it at a step, which is what it asks of SQLite, of storage or of the disk, before or
// after that is done. Statements are all there is between the steps of collecting, sealing, acknowledging and deleting.
let stepsLeft = Number(process.env['KILL_AT'] ?? Number.POSITIVE_INFINITY);

function step(): void {
  stepsLeft -= 1;
  if (stepsLeft === 0) process.kill(process.pid, 'SIGKILL');
}

type Callable = (this: unknown, ...given: unknown[]) => unknown;

function stepAround(object: object, name: string): void {
  const methods = object as Record<string, Callable>;
  const real = methods[name];
  if (real === undefined) throw new Error(`There is no ${name}() to step around`);
  methods[name] = function stepping(...given) {
    step();
    const result = real.apply(this, given);
    if (!(result instanceof Promise)) {
      step();
      return result;
    }
    return result.finally(step);
  };
}

const statement = new Database(':memory:').prepare('SELECT 1');
const statements = Object.getPrototypeOf(statement) as object;
for (const name of ['run', 'get', 'all', 'iterate']) stepAround(statements, name);
for (const name of ['writeSync', 'fsyncSync', 'renameSync']) stepAround(fs, name);
syncBuiltinESMExports();
stepAround(globalThis, 'fetch');
