import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { findProgram } from '../../../shared/programs.ts';
import { until } from '../../until.ts';
import { type EdgeRig, openEdgeRig } from '../edge-rig.ts';

/** util-linux runs a program on a pseudo-terminal of its own, and passes on what is typed and what is drawn. */
const hasScript = spawnSync('script', ['--version']).status === 0;
if (!hasScript) process.stdout.write('no terminal: script of util-linux is not there, a test is skipped\n');

interface Watching extends AsyncDisposable {
  /** All that was written so far. */
  readonly written: () => string;
  readonly type: (keys: string) => void;
  readonly interrupt: () => void;
  readonly exitCode: Promise<number | null>;
}

/** Starts `ferry edge fleet status --watch` as a user does. */
function startWatching(rig: EdgeRig, { onTerminal }: { readonly onTerminal: boolean }): Watching {
  const ferry = [process.execPath, findProgram('ferry').path, 'edge', 'fleet', 'status', '--watch', '--every', '1'];
  const quoted = ferry.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' ');
  const [program = '', ...args] = onTerminal ? ['script', '-qefc', `exec ${quoted}`, '/dev/null'] : ferry;
  const child = spawn(program, args, { cwd: rig.folder, stdio: ['pipe', 'pipe', 'inherit'] });
  const closed = once(child, 'close') as Promise<[number | null]>;
  let written = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (written += text));
  return {
    written: () => written,
    type: (keys) => void child.stdin.write(keys),
    interrupt: () => void child.kill('SIGINT'),
    exitCode: closed.then(([code]) => code),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

test.skipIf(!hasScript)(
  'ferry edge fleet status --watch draws anew in the same place on a terminal, until Ctrl-C',
  { timeout: 60_000 },
  async () => {
    await using rig = await openEdgeRig();
    await using watching = startWatching(rig, { onTerminal: true });
    await until(() => /^ +1 +0 +0 +0 +1 +0 +0/m.test(watching.written()), { timeoutMs: 20_000 });
    await rig.client.addEdgeDevice('gw-1', { ring: 'canary' });
    const redrawn = () => watching.written().split('\u001b[H').at(-1) ?? '';
    await until(() => /^canary +1 +0 +0 +0 +1 +0 +0/m.test(redrawn()), { timeoutMs: 20_000 });
    await using agent = await rig.connectAgent('gw-1');
    await until(() => /^canary +1 +0 +0 +0 +0 +0 +1/m.test(redrawn()), { timeoutMs: 20_000 });
    expect(await agent.desired()).toEqual({});
    watching.type('\u0003');
    expect(await watching.exitCode).toBe(130);
    expect(watching.written().split('\u001b[2J')).toHaveLength(2);
  },
);

test(
  'ferry edge fleet status --watch writes one table after the other where there is no terminal',
  { timeout: 60_000 },
  async () => {
    await using rig = await openEdgeRig();
    await using watching = startWatching(rig, { onTerminal: false });
    await until(() => watching.written().includes('DEVICES'), { timeoutMs: 20_000 });
    await rig.client.addEdgeDevice('gw-1', { ring: 'canary' });
    await until(() => watching.written().includes('canary'), { timeoutMs: 20_000 });
    watching.interrupt();
    expect(await watching.exitCode).toBe(130);
    expect(watching.written()).not.toContain('\u001b');
    expect(watching.written()).toMatch(/^ALL DEVICES [\s\S]*\n\nALL DEVICES /);
  },
);
