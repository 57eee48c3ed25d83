import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readLedger } from '../../../agent/collect/ledger.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { startProgram } from './scoring-program.ts';
import { makeRoot, readDigits } from './scoring-rig.ts';

test('the program prints one line when it is ready, and ends with 0 after SIGTERM with all rows durable', async () => {
  await using folder = await temporaryFolder();
  await makeRoot(folder.path);
  const { pixels } = await readDigits();
  await using program = startProgram(folder.path, {
    AML_MODEL_DC_STORAGE_ENABLED: 'true',
    MODELFERRY_DATA_DIR: folder.path,
  });
  const url = await program.url();
  const post = (row: number[] | undefined): Promise<Response> =>
    fetch(`${url}/score`, { method: 'POST', body: JSON.stringify({ pixels: [row] }) });
  const answers = await Promise.all(pixels.slice(0, 100).map(post));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
  program.process.kill('SIGTERM');
  expect(await program.exitCode()).toBe(0);
  expect(program.lines().map(({ msg }) => msg)).toEqual(['ready', 'stopping', 'stopped']);
  expect(readLedger(join(folder.path, 'collect.db')).streams).toMatchObject([{ collected: 100 }, { collected: 100 }]);
});

test('threads that listen at one port give the figures of all of them', async () => {
  await using folder = await temporaryFolder();
  await makeRoot(folder.path);
  const { pixels } = await readDigits();
  await using program = startProgram(folder.path, { MODELFERRY_LISTENERS: '2' });
  const url = await program.url();
  const headers = { connection: 'close' };
  const body = JSON.stringify({ pixels: [pixels[0]] });
  let sent = 0;
  // New connections until the other thread, which joins later, has had some: both answer the same.
  for (; sent < 200; sent += 1)
    expect((await fetch(`${url}/score`, { method: 'POST', body, headers })).status).toBe(200);
  for (let scrape = 0; scrape < 10; scrape += 1) {
    const text = await (await fetch(`${url}/metrics`, { headers })).text();
    expect(text).toContain(`modelferry_requests_total{model="digits",code="200"} ${sent}\n`);
  }
  program.process.kill('SIGTERM');
  expect(await program.exitCode()).toBe(0);
});

test('the program ends with 3 and a line that says why, where it cannot start', async () => {
  await using folder = await temporaryFolder();
  await using none = startProgram(folder.path);
  expect(await none.exitCode()).toBe(3);
  expect(none.lines()).toMatchObject([{ code: 'IMAGE_INVALID' }]);
  await makeRoot(folder.path);
  await using first = startProgram(folder.path);
  const { port } = new URL(await first.url());
  await using second = startProgram(folder.path, { MODELFERRY_PORT: port });
  expect(await second.exitCode()).toBe(3);
  expect(second.lines()).toMatchObject([{ code: 'PORT_IN_USE' }]);
  await using wrong = startProgram(folder.path, { SCORING_TIMEOUT_MS: 'soon', MODELFERRY_WORKSPACE: 'ws' });
  expect(await wrong.exitCode()).toBe(3);
  expect(wrong.lines()[0]?.msg).toMatch(/SCORING_TIMEOUT_MS: .*MODELFERRY_WORKSPACE: /);
});
