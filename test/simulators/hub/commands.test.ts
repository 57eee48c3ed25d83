import { expect, test } from 'vitest';
import { type Clock, systemClock } from '../../../shared/clock.ts';
import { Commands } from '../../../simulators/hub/commands.ts';
import { Store } from '../../../simulators/hub/store.ts';

const message = { system: { messageId: 'm' }, properties: {}, body: Buffer.from('x') };

function open(): {
  readonly commands: Commands;
  readonly ended: string[];
  readonly pass: (ms: number) => void;
} & Disposable {
  let nowMs = 1_000_000;
  const clock: Clock = { ...systemClock, nowMs: () => nowMs };
  const store = new Store(undefined);
  const commands = new Commands({ store, clock });
  const ended: string[] = [];
  commands.events.on('ended', (_command, outcome) => ended.push(outcome));
  return { commands, ended, pass: (ms) => void (nowMs += ms), [Symbol.dispose]: () => store[Symbol.dispose]() };
}

test('receive() gives each message to one receiver, oldest first', () => {
  using rig = open();
  rig.commands.enqueue('d', { ...message, system: { messageId: '1' } });
  rig.commands.enqueue('d', { ...message, system: { messageId: '2' } });
  expect(rig.commands.receive('d')?.message.system.messageId).toBe('1');
  expect(rig.commands.receive('d')?.message.system.messageId).toBe('2');
  expect(rig.commands.receive('d')).toBeUndefined();
});

test('a message that was given ten times and never completed ends', () => {
  using rig = open();
  rig.commands.enqueue('d', message);
  for (let delivery = 1; delivery <= 10; delivery += 1) {
    const command = rig.commands.receive('d');
    expect(command?.deliveryCount).toBe(delivery);
    rig.commands.abandon('d', command?.lock?.token ?? '');
  }
  expect(rig.commands.receive('d')).toBeUndefined();
  expect(rig.ended).toEqual(['DeliveryCountExceeded']);
});

test('a lock ends with its time, and what it locked is given again', () => {
  using rig = open();
  rig.commands.enqueue('d', message);
  const first = rig.commands.receive('d', 60_000);
  expect(rig.commands.receive('d')).toBeUndefined();
  rig.pass(60_001);
  expect(rig.commands.receive('d')?.deliveryCount).toBe(2);
  expect(() => rig.commands.complete('d', first?.lock?.token ?? '')).toThrow(/not locked/);
});

test('a message expires after an hour, or when its sender said, and never later than two days', () => {
  using rig = open();
  rig.commands.enqueue('d', message);
  rig.commands.enqueue('d', message, { expiresMs: 1_000_000 + 1000 });
  rig.commands.enqueue('d', message, { expiresMs: 1_000_000 + 10 * 86_400_000 });
  expect(() => rig.commands.enqueue('d', message, { expiresMs: 999_999 })).toThrow(/in the past/);
  const left = [1001, 3_600_000, 48 * 3_600_000].map((ms) => {
    rig.pass(ms);
    rig.commands.sweep();
    return rig.commands.count('d');
  });
  expect(left).toEqual([2, 1, 0]);
  expect(rig.ended).toEqual(['Expired', 'Expired', 'Expired']);
});

test('a queue holds 50, and a message 64 KiB', () => {
  using rig = open();
  for (let index = 0; index < 50; index += 1) rig.commands.enqueue('d', message);
  expect(() => rig.commands.enqueue('d', message)).toThrow(/holds 50/);
  expect(() => rig.commands.enqueue('e', { ...message, body: Buffer.alloc(65_537) })).toThrow(/65536 at most/);
  expect(rig.commands.purge('d')).toBe(50);
});
