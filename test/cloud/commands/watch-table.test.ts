import { expect, test } from 'vitest';
import { type WatchOptions, watchTable } from '../../../cloud/commands/watch-table.ts';
import { systemClock } from '../../../shared/clock.ts';
import { FerryError } from '../../../shared/errors.ts';

/** Watches what is given, one after the other, and gives what was written until it ends. */
async function watch(
  looks: readonly (string | FerryError)[],
  { json = false, ...terminal }: Partial<WatchOptions['stream']> & { readonly json?: boolean },
): Promise<{ readonly written: string; readonly notes: readonly string[]; readonly error: unknown }> {
  const ending = new AbortController();
  const left = [...looks];
  const notes: string[] = [];
  let written = '';
  const look = async () => {
    const next = left.shift();
    if (next === undefined) ending.abort(new Error('enough'));
    ending.signal.throwIfAborted();
    if (next instanceof FerryError) throw next;
    return { json: { seen: next }, text: next ?? '' };
  };
  const error: unknown = await watchTable(look, {
    everyMs: 1,
    json,
    stream: { ...terminal, write: (text) => (written += text) },
    clock: { ...systemClock, nowMs: () => 0 },
    signal: ending.signal,
    note: (line) => notes.push(line),
  }).catch((thrown: unknown) => thrown);
  return { written, notes, error };
}

const away = new FerryError('HUB_UNREACHABLE', 'Cannot query: the hub is away');

test('watchTable() writes one table after the other where there is no terminal, and ends with the reason', async () => {
  const { written, error } = await watch(['one\ntwo', 'three'], {});
  expect(written).toBe('one\ntwo\n\nthree\n');
  expect(error).toMatchObject({ message: 'enough' });
});

test('watchTable() writes a line of JSON each time, on a terminal too', async () => {
  expect((await watch(['one', 'two'], { isTTY: true, json: true })).written).toBe('{"seen":"one"}\n{"seen":"two"}\n');
});

test('watchTable() draws over what is there on a terminal, and no more than fits', async () => {
  const { written } = await watch(['one\ntwo\nthree', 'four'], { isTTY: true, rows: 5, columns: 31 });
  const head = '1970-01-01T00:00:00.000Z  every';
  const screens = written.replaceAll('\u001b[K\r\n', '\n').split('\u001b[H');
  expect(screens).toEqual(['\u001b[2J', `${head}\n\none\ntwo\n\u001b[J`, `${head}\n\nfour\n\u001b[J`]);
});

test('watchTable() keeps what was seen last while the hub is away, and says so', async () => {
  const drawn = await watch(['one', away, 'two'], { isTTY: true, rows: 0 });
  const [, , second = '', third = ''] = drawn.written.split('\u001b[H');
  expect(second).toContain('trying again: Cannot query: the hub is away');
  expect(second).toContain('one');
  expect(third).toContain('two');
  const listed = await watch(['one', away, 'two'], {});
  expect(listed).toMatchObject({ written: 'one\n\ntwo\n', notes: [`trying again: ${away.message}`] });
});

test('watchTable() ends where already the first look fails, or what is wrong does not pass', async () => {
  expect((await watch([away], {})).error).toBe(away);
  const refused = new FerryError('HUB_UNAUTHORIZED', 'Cannot query the devices: a wrong key');
  expect((await watch(['one', refused], {})).error).toBe(refused);
});
