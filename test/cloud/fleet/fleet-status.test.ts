import { expect, test } from 'vitest';
import { countFleet, type FleetDevice } from '../../../cloud/fleet/fleet-status.ts';

const device = (changes: Partial<FleetDevice>): FleetDevice => ({
  deviceId: 'gw',
  state: 'healthy',
  ring: undefined,
  images: [],
  wanted: [],
  ...changes,
});

test('countFleet() counts devices by what they run, and apart from that by what they are to run', () => {
  const counted = countFleet(
    [
      device({ images: ['one'], wanted: ['one'], ring: 'canary' }),
      device({ images: ['one'], wanted: ['two'], state: 'failed' }),
      device({ wanted: ['two'], state: 'offline' }),
      device({ images: ['one', 'one'], wanted: ['one', 'other'] }),
    ],
    (image) => `digits:${image}`,
  );
  const none = { failed: 0, unhealthy: 0, updating: 0, offline: 0, healthy: 0, idle: 0 };
  expect(counted).toEqual({
    devices: 4,
    byState: { ...none, failed: 1, offline: 1, healthy: 2 },
    byRing: { '-': { ...none, failed: 1, offline: 1, healthy: 1 }, canary: { ...none, healthy: 1 } },
    byVersion: { '-': { ...none, offline: 1 }, 'digits:one': { ...none, failed: 1, healthy: 2 } },
    wanted: { 'digits:one': 2, 'digits:other': 1, 'digits:two': 2 },
  });
});
