import { expect, test } from 'vitest';
import { runFerry } from '../../ferry.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

const timeout = 120_000;

test('ferry simulate fleet reports a fleet in virtual time, the same for the same seed', { timeout }, async () => {
  await using folder = await temporaryFolder();
  const args = ['simulate', 'fleet', '--virtual', '--devices', '6', '--minutes', '90', '--failing', '20', '--json'];
  const simulate = (seed: number) => runFerry([...args, '--seed', String(seed)], { cwd: folder.path });
  const first = await simulate(1);
  expect(first.code).toBe(0);
  expect(JSON.parse(first.stdout)).toMatchObject({ mode: 'virtual', devices: 6, onRightVersion: 6, rows: { lost: 0 } });
  expect((await simulate(1)).stdout).toBe(first.stdout);
  expect((await simulate(2)).stdout.replace('"seed": 2', '"seed": 1')).not.toBe(first.stdout);
});

test('ferry simulate fleet lays out its report, real agents among it', { timeout }, async () => {
  await using folder = await temporaryFolder();
  const args = ['simulate', 'fleet', '--devices', '2', '--real', '1', '--minutes', '0.5'];
  const { code, stdout, stderr } = await runFerry(args, { cwd: folder.path });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  expect(stdout).toMatch(/fleet-1 +\d+ s +3 of 3 /);
  expect(stdout).toMatch(/right version +3 of 3\n/);
  expect(stdout).toMatch(
    /real agents +1 of 1 on the right version, the last after [\d.]+ s; \d+ rows answered, \d+ collected\n/,
  );
  expect(stdout).toMatch(/ledgers +3 of 3 equal\n/);
});

test.each([
  [['--virtual', '--real', '1'], 'Cannot take --real with --virtual: real agents live in real time'],
  [['--virtual', '--slow-links'], 'Cannot take --slow-links with --virtual: there links are so by themselves'],
  [['--outage', '5'], 'Cannot take --outage without --virtual'],
  [['--days', '1', '--minutes', '5'], 'Cannot take --days and --minutes: one of them was wanted'],
  [['--failing', '101'], 'It is "101", a number from 0 to 100 was wanted.'],
  [['--seed', '-1'], 'It is "-1", a whole number from 0 was wanted.'],
])('ferry simulate fleet refuses %j', async (flags, message) => {
  await using folder = await temporaryFolder();
  const { code, stderr } = await runFerry(['simulate', 'fleet', ...flags], { cwd: folder.path });
  expect(code).toBe(2);
  expect(stderr).toContain(message);
});
