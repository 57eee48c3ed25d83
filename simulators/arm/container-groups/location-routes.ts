import type { Faults } from '../faults.ts';
import type { Route } from '../route.ts';
import type { ContainerGroups } from './groups.ts';

/** The routes that tell what a region has: quotas and their use, images at hand, and what a group may have. */
export function locationRoutes(options: {
  readonly groups: ContainerGroups;
  readonly faults: Faults;
  /** Path up to `Microsoft.ContainerInstance`. */
  readonly provider: string;
  readonly apiVersions: readonly string[];
}): readonly Route[] {
  const { groups, faults, provider, apiVersions } = options;
  const get = (kind: string, value: (region: string) => readonly object[]): Route => ({
    method: 'GET',
    path: `${provider}/locations/{location}/${kind}`,
    apiVersions,
    answer: ({ parameters }) => ({ status: 200, body: { value: value(parameters['location'] ?? '') } }),
  });
  return [
    get('usages', (region) => {
      const used = groups.usage(region);
      const { containerGroupsMax, coresMax } = faults.settings;
      return [
        usage('ContainerGroups', 'Container Groups', { currentValue: used.groups, limit: containerGroupsMax }),
        usage('StandardCores', 'Standard Cores', { currentValue: Math.ceil(used.cores), limit: coresMax }),
      ];
    }),
    // The service's own list has its common base images; none is kept at hand here.
    get('cachedImages', () => []),
    get('capabilities', (location) => [
      {
        resourceType: 'containerGroups',
        osType: 'Linux',
        location,
        ipAddressType: 'Public',
        gpu: 'None',
        capabilities: { maxMemoryInGB: 240, maxCpu: 31, maxGpuCount: 0 },
      },
    ]),
  ];
}

function usage(value: string, localizedValue: string, amounts: { currentValue: number; limit: number }): object {
  return { id: '', unit: 'Count', ...amounts, name: { value, localizedValue } };
}
