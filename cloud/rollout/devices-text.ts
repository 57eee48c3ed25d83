import type { DeviceOutcome } from './gate.ts';

/** How many devices one sentence names. */
const namedMax = 3;

/** Names the first few devices and what is wrong with each: `gw-1 (exit code 1), gw-2 (exit code 1) and 7 more`. */
export function devicesText(devices: readonly DeviceOutcome[]): string {
  const examples = devices
    .slice(0, namedMax)
    .map(({ deviceId, reason }) => `${deviceId} (${reason ?? 'no reason given'})`);
  return `${examples.join(', ')}${devices.length > namedMax ? ` and ${devices.length - namedMax} more` : ''}`;
}
