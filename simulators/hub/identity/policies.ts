import type { Store } from '../store.ts';
import { newKey } from './identity.ts';

/** What a shared access policy may allow. */
export type Permission = 'RegistryRead' | 'RegistryWrite' | 'ServiceConnect' | 'DeviceConnect';

/** The policies that every new hub has. */
export const policyNames = ['iothubowner', 'service', 'device', 'registryRead', 'registryReadWrite'] as const;

/** The name of a policy. */
export type PolicyName = (typeof policyNames)[number];

const permissions: Readonly<Record<PolicyName, readonly Permission[]>> = {
  iothubowner: ['RegistryRead', 'RegistryWrite', 'ServiceConnect', 'DeviceConnect'],
  service: ['ServiceConnect'],
  device: ['DeviceConnect'],
  registryRead: ['RegistryRead'],
  registryReadWrite: ['RegistryRead', 'RegistryWrite'],
};

/** A shared access policy with its two keys (base64). */
export interface Policy {
  readonly name: PolicyName;
  readonly permissions: readonly Permission[];
  readonly primaryKey: string;
  readonly secondaryKey: string;
}

/** Opens the hub's policies: keys are made at first start and kept. */
export function openPolicies(store: Store): ReadonlyMap<string, Policy> {
  const kept = store.read<Pick<Policy, 'primaryKey' | 'secondaryKey'>>('policies');
  return new Map(
    policyNames.map((name) => {
      const keys = kept.get(name) ?? { primaryKey: newKey(), secondaryKey: newKey() };
      if (!kept.has(name)) store.put('policies', name, keys);
      return [name, { name, permissions: permissions[name], ...keys }];
    }),
  );
}
