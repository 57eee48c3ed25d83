import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';

const program = fileURLToPath(new URL('../../../simulators/hub/main.ts', import.meta.url));

test('the hub starts on its own, prints its endpoints, and ends at SIGTERM', async () => {
  await using folder = await temporaryFolder();
  const child = spawn(
    process.execPath,
    [program, '--folder', folder.path, '--plain-amqp-port', '0', '--evaluate-every', '300'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const exited = once(child, 'exit');
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const printed = await until(() =>
    output.endsWith('}\n') ? (JSON.parse(output) as Record<string, unknown>) : undefined,
  );
  expect(printed).toMatchObject({
    hostName: `localhost:${String(printed['port'])}`,
    eventHubConnectionString: expect.stringContaining('UseDevelopmentEmulator=true'),
  });
  expect(await readFile(String(printed['caFile']), 'utf8')).toContain('BEGIN CERTIFICATE');
  child.kill('SIGTERM');
  expect(await exited).toEqual([0, null]);
});

test.each([
  [[], '--folder is missing'],
  [['--folder', '/tmp', '--port', 'x'], '--port "x"'],
  [['--nonsense'], '--nonsense'],
])('the hub started with %j says what is wrong, and ends with 2', async (args, text) => {
  const ended = (await promisify(execFile)(process.execPath, [program, ...args]).catch((error: unknown) => error)) as {
    readonly code: number;
    readonly stderr: string;
  };
  expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining(text) });
});
