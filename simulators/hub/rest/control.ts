import { type Faults, faultChangeSchema } from '../faults.ts';
import type { Address } from '../identity/identity.ts';
import type { Registry } from '../identity/registry.ts';
import { type Route, param, readBody } from './route.ts';

/** The parts of the hub that its control interface works with. */
export interface ControlOptions {
  readonly faults: Faults;
  readonly registry: Registry;
  /** Cuts the connections of a device and its modules. */
  readonly drop: (address: Address) => void;
  readonly expireTokens: (deviceId: string) => void;
  readonly dropAll: () => void;
}

/** Below this path are the simulator's own operations; no hub has them, and no fault touches them. */
export const controlPrefix = '/_sim/';

// Who may do everything may break everything.
const owner = { service: ['RegistryWrite'] } as const;

/** The simulator's own operations: its faults, switched at run time. */
export function controlRoutes(options: ControlOptions): readonly Route[] {
  const { faults } = options;
  return [
    {
      method: 'GET',
      path: '/_sim/faults',
      allowed: owner,
      unversioned: true,
      handle: () => ({ status: 200, body: faults.settings }),
    },
    {
      method: 'PATCH',
      path: '/_sim/faults',
      allowed: owner,
      unversioned: true,
      handle: (call) => {
        const change = readBody(call, faultChangeSchema);
        faults.change(change);
        if ((change.outageMs ?? 0) > 0) options.dropAll();
        return { status: 200, body: faults.settings };
      },
    },
    {
      method: 'DELETE',
      path: '/_sim/faults',
      allowed: owner,
      unversioned: true,
      handle: () => {
        faults.clear();
        return { status: 200, body: faults.settings };
      },
    },
    {
      method: 'POST',
      path: '/_sim/devices/:deviceId/drop',
      allowed: owner,
      unversioned: true,
      handle: (call) => {
        const deviceId = param(call, 'deviceId');
        options.registry.device(deviceId);
        options.drop({ deviceId });
        return { status: 204 };
      },
    },
    {
      method: 'POST',
      path: '/_sim/devices/:deviceId/expire',
      allowed: owner,
      unversioned: true,
      handle: (call) => {
        const deviceId = param(call, 'deviceId');
        options.registry.device(deviceId);
        options.expireTokens(deviceId);
        return { status: 204 };
      },
    },
  ];
}
