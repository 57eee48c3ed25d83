import { appendFileSync } from 'node:fs';
import type { ClientRequest } from 'node:http';
import https from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import Database from 'better-sqlite3';

// Loaded before `ferry` (`node --import`): kills it at a step. Steps are each request to the hub before it is sent, its answer before it is
// seen, and each write to the workspace before and after it is done: between two of them nothing leaves the process.
const killAt = Number(process.env['KILL_AT'] ?? Number.POSITIVE_INFINITY);
let steps = 0;

function step(): void {
  steps += 1;
  if (steps === killAt) process.kill(process.pid, 'SIGKILL');
}

type Request = (...given: readonly unknown[]) => ClientRequest;
const request = https.request as Request;
const stepping: Request = (...given) => {
  step();
  return request(...given).prependOnceListener('response', step);
};
https.request = stepping;
syncBuiltinESMExports();

const statements = Object.getPrototypeOf(new Database(':memory:').prepare('SELECT 1')) as {
  run: (...given: unknown[]) => unknown;
};
const { run } = statements;
statements.run = function stepping(this: unknown, ...given) {
  step();
  const result = run.apply(this, given);
  step();
  return result;
};

const { STEPS_FILE } = process.env;
if (STEPS_FILE !== undefined) process.on('exit', () => appendFileSync(STEPS_FILE, `${steps}\n`));
