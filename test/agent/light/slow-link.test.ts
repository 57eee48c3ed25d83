import { expect, test } from 'vitest';
import { LightNetwork } from '../../../agent/light/light-network.ts';
import type { Link } from '../../../agent/light/link.ts';
import { slowed } from '../../../agent/light/slow-link.ts';
import { VirtualTimeline } from '../../../agent/light/timeline.ts';
import { Random } from '../../../shared/random.ts';

const signal = new AbortController().signal;
const identity = { connectionString: '', clockBehindMs: 0, webSocket: undefined };

/** A link that answers at once, on a network of 600 ms and a megabyte a second. */
function rig() {
  const timeline = new VirtualTimeline(0);
  const profile = { roundTripMs: 600, lossShare: 0, bytesPerSecond: 1_000_000 };
  const network = new LightNetwork(profile, { timeline, random: new Random(1) });
  let change = (): void => undefined;
  const fast: Link = {
    openSession: async (_identity, handlers) => {
      change = handlers.onChanged;
      return {
        readTwin: async () => ({ desired: {}, reported: {} }),
        patchReported: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      };
    },
    measureClockSkew: async () => 7,
    destination: { upload: async () => undefined },
  };
  /** How long something takes, in milliseconds; what it throws instead, where it does. */
  const timeOf = async (work: () => Promise<unknown>): Promise<unknown> => {
    const beganMs = timeline.monotonicMs();
    const taken = work().then(
      () => timeline.monotonicMs() - beganMs,
      (error: unknown) => error,
    );
    await timeline.runUntil(beganMs + 60_000);
    return taken;
  };
  return { timeline, network, timeOf, link: slowed(fast, network), change: () => change() };
}

test('slowed() makes each way over the network as long as it is, and uploads as long as their bytes take', async () => {
  const { link, timeOf, timeline, change } = rig();
  const heardMs: number[] = [];
  const onChanged = (): void => void heardMs.push(timeline.monotonicMs());
  const handlers = { onChanged, onLost: () => undefined, onMethod: () => undefined };
  const opening = link.openSession(identity, handlers, signal);
  expect(await timeOf(() => opening)).toBe(1_800);
  const session = await opening;
  expect(await timeOf(() => session.readTwin(signal))).toBeCloseTo(601, -1);
  expect(await timeOf(() => session.patchReported({ a: 1 }, signal))).toBeCloseTo(601, -1);
  expect(await timeOf(() => link.measureClockSkew('hub', signal))).toBe(300);
  const blob = { name: 'x', content: new Uint8Array(2_000_000), contentType: 'text/csv', metadata: {} };
  expect(await timeOf(() => link.destination.upload(blob, signal))).toBe(1_200 + 300 + 2_000);
  const beganMs = timeline.monotonicMs();
  await timeOf(async () => change());
  expect(heardMs).toEqual([beganMs + 300]);
});

test('slowed() carries nothing while the network is down', async () => {
  const { link, network, timeOf } = rig();
  network.set('offline', true);
  const handlers = { onChanged: () => undefined, onLost: () => undefined, onMethod: () => undefined };
  expect(await timeOf(() => link.openSession(identity, handlers, signal))).toMatchObject({
    message: 'the network is down',
  });
});
