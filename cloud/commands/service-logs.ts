import type { Command } from 'commander';
import { setTimeout as sleep } from 'node:timers/promises';
import { table } from '../../shared/text-layout.ts';
import { addWork, positiveInteger } from '../cli/session.ts';
import { openDeployer } from '../deploy/deployers.ts';
import { listOperations, operationLines } from '../deploy/operations.ts';
import { getService } from '../deploy/service-records.ts';

interface LogFlags {
  readonly tail: number;
  readonly follow?: boolean;
}

interface OperationFlags {
  readonly follow?: boolean;
  readonly lines?: boolean;
}

/** How often it is looked for new lines of an operation, in milliseconds. */
const followMs = 200;

/** Adds `ferry service logs`. */
export function addLogs(noun: Command): void {
  const logs = noun
    .command('logs')
    .description('print what the containers of a service wrote')
    .argument('<name>', 'the service')
    .option('--tail <number>', 'only the last lines of each', positiveInteger, 5000)
    .option('--follow', 'go on as lines come, until it is stopped');
  addWork<LogFlags>(logs, async (session, { tail, follow = false }, [name = '']) => {
    const workspace = await session.openWorkspace();
    const record = getService(workspace.database, name);
    await using deployer = await openDeployer(workspace, record.target, session.signal);
    const lines: string[] = [];
    for await (const line of deployer.logs(record, { tail, follow, signal: session.signal })) {
      if (session.json && !follow) lines.push(line);
      else process.stdout.write(`${session.json ? JSON.stringify({ line }) : line}\n`);
    }
    return session.json && !follow ? { json: lines, text: '' } : undefined;
  });
}

/** Adds `ferry service operations`. */
export function addOperations(noun: Command): void {
  const operations = noun
    .command('operations')
    .description('list what was done to a service, or print what the latest noted')
    .argument('<name>', 'the service')
    .option('--lines', 'what the latest one noted')
    .option('--follow', 'the same, and go on until it ends');
  addWork<OperationFlags>(operations, async (session, { follow = false, lines = false }, [name = '']) => {
    const { database } = await session.openWorkspace();
    const found = listOperations(database, name);
    const [latest] = found;
    if (!follow && !lines) {
      const rows = found.map(({ kind, state, startedAt, endedAt, error }) => [
        kind,
        state,
        startedAt,
        endedAt ?? '',
        error ?? '',
      ]);
      const text = table(['operation', 'state', 'started', 'ended', 'error'], rows);
      return { json: found, text: found.length === 0 ? `Nothing was done to "${name}".` : text };
    }
    if (latest === undefined) return { json: [], text: `Nothing was done to "${name}".` };
    for (let after = 0; ;) {
      // The state is read before the lines: what ends in between has them all.
      const state = listOperations(database, name).find(({ id }) => id === latest.id)?.state;
      for (const line of operationLines(database, latest.id, after)) {
        process.stdout.write(session.json ? `${JSON.stringify(line)}\n` : `${line.at} ${line.text}\n`);
        after = line.sequence;
      }
      if (!follow || state !== 'Running') return undefined;
      await sleep(followMs, undefined, { signal: session.signal });
    }
  });
}
