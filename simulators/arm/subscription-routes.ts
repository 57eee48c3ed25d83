import { z } from 'zod';
import { ArmError } from './arm-error.ts';
import type { ContainerGroups } from './container-groups/groups.ts';
import { operationHeaders, type Operations } from './operations.ts';
import type { Route } from './route.ts';
import { regionOf, regions } from './regions.ts';
import type { ResourceGroup, StateFile } from './state.ts';

const resourceGroupVersions = [
  '2021-04-01',
  '2022-09-01',
  '2023-07-01',
  '2024-03-01',
  '2024-07-01',
  '2024-11-01',
  '2025-03-01',
  '2025-04-01',
];
const subscriptionVersions = ['2016-06-01', '2019-11-01', '2020-01-01', '2021-01-01', '2022-12-01'];

const bodySchema = z.looseObject({ location: z.string(), tags: z.record(z.string(), z.string()).nullish() });
const patchSchema = z.looseObject({ tags: z.record(z.string(), z.string()).nullish() });

/** What these routes need. */
export interface SubscriptionRoutesOptions {
  readonly file: StateFile;
  readonly groups: ContainerGroups;
  readonly operations: Operations;
}

/**
 * Finds a resource group by its name, without regard to case.
 * @throws {ArmError} ResourceGroupNotFound
 */
export function findResourceGroup({ state }: StateFile, name: string): ResourceGroup {
  const found = state.resourceGroups.find((group) => group.name.toLowerCase() === name.toLowerCase());
  if (found !== undefined) return found;
  throw new ArmError(404, 'ResourceGroupNotFound', `Resource group '${name}' could not be found.`);
}

/** The routes of tenants, subscriptions, regions and resource groups. @see https://learn.microsoft.com/rest/api/resources */
export function subscriptionRoutes(options: SubscriptionRoutesOptions): readonly Route[] {
  const { state } = options.file;
  const subscription = {
    id: `/subscriptions/${state.subscriptionId}`,
    subscriptionId: state.subscriptionId,
    tenantId: state.tenantId,
    displayName: 'Modelferry simulator',
    state: 'Enabled',
    authorizationSource: 'RoleBased',
    subscriptionPolicies: {
      locationPlacementId: 'Public_2014-09-01',
      quotaId: 'PayAsYouGo_2014-09-01',
      spendingLimit: 'Off',
    },
  };
  const get = (path: string, body: object): Route => ({
    method: 'GET',
    path,
    apiVersions: subscriptionVersions,
    answer: () => ({ status: 200, body }),
  });
  const locations = Object.entries(regions).map(([name, displayName]) => ({
    id: `${subscription.id}/locations/${name}`,
    name,
    displayName,
    regionalDisplayName: displayName,
    type: 'Region',
  }));
  return [
    get('/tenants', {
      value: [
        {
          id: `/tenants/${state.tenantId}`,
          tenantId: state.tenantId,
          displayName: 'Modelferry',
          tenantCategory: 'Home',
        },
      ],
    }),
    get('/subscriptions', { value: [subscription], count: { type: 'Total', value: 1 } }),
    get('/subscriptions/{subscription}', subscription),
    get('/subscriptions/{subscription}/locations', { value: locations }),
    ...resourceGroupRoutes(options),
  ];
}

function resourceGroupRoutes({ file, groups, operations }: SubscriptionRoutesOptions): readonly Route[] {
  const { state } = file;
  const all = '/subscriptions/{subscription}/resourceGroups';
  const one = `${all}/{name}`;
  const view = ({ name, location, tags }: ResourceGroup): object => ({
    id: `/subscriptions/${state.subscriptionId}/resourceGroups/${name}`,
    name,
    type: 'Microsoft.Resources/resourceGroups',
    location,
    tags,
    properties: { provisioningState: 'Succeeded' },
  });
  const route = (method: string, path: string, answer: Route['answer']): Route => ({
    method,
    path,
    apiVersions: resourceGroupVersions,
    answer,
  });
  return [
    route('GET', all, () => ({ status: 200, body: { value: state.resourceGroups.map(view) } })),
    route('GET', one, ({ parameters }) => ({
      status: 200,
      body: view(findResourceGroup(file, parameters['name'] ?? '')),
    })),
    route('HEAD', one, ({ parameters }) => {
      const isThere = state.resourceGroups.some(({ name }) => name.toLowerCase() === parameters['name']?.toLowerCase());
      return { status: isThere ? 204 : 404 };
    }),
    route('PUT', one, async ({ parameters, body }) => {
      const name = checkName(parameters['name'] ?? '');
      const { location, tags } = checkBody(body);
      const before = state.resourceGroups.find((group) => group.name.toLowerCase() === name.toLowerCase());
      if (before !== undefined && before.location !== location) {
        throw new ArmError(
          409,
          'InvalidResourceGroupLocation',
          `Invalid resource group location '${location}'. The Resource group already exists in location '${before.location}'.`,
        );
      }
      const after = { name: before?.name ?? name, location, tags };
      state.resourceGroups = [...state.resourceGroups.filter((group) => group !== before), after];
      await file.save();
      return { status: before === undefined ? 201 : 200, body: view(after) };
    }),
    route('PATCH', one, async ({ parameters, body }) => {
      const before = findResourceGroup(file, parameters['name'] ?? '');
      const after = { ...before, tags: patchSchema.parse(body ?? {}).tags ?? before.tags };
      state.resourceGroups = state.resourceGroups.map((group) => (group === before ? after : group));
      await file.save();
      return { status: 200, body: view(after) };
    }),
    route('DELETE', one, ({ parameters, url }) => {
      const group = findResourceGroup(file, parameters['name'] ?? '');
      const id = operations.begin(`/subscriptions/${state.subscriptionId}/resourceGroups/${group.name}`, async () => {
        await Promise.all(groups.list(group.name).map((one) => groups.remove(one)));
        state.resourceGroups = state.resourceGroups.filter((other) => other !== group);
        await file.save();
      });
      const path = `/subscriptions/${state.subscriptionId}`;
      return { status: 202, headers: operationHeaders(url, path, { id, follow: 'result' }) };
    }),
    ...operations.routes('/subscriptions/{subscription}', resourceGroupVersions),
  ];
}

/** "1-90, underscores, hyphens, periods, parentheses, and letters or digits; can't end with period" (resource-name-rules). */
function checkName(name: string): string {
  if (/^[\p{L}\p{N}_.()-]{1,90}$/u.test(name) && !name.endsWith('.')) return name;
  throw new ArmError(
    400,
    'InvalidResourceGroupName',
    `The provided resource group name '${name}' has these invalid characters or is too long. The name can only be a letter, digit, '-', '.', '(', ')' or '_', up to 90 of them, and cannot end with '.'.`,
  );
}

function checkBody(body: unknown): { readonly location: string; readonly tags: Record<string, string> } {
  const read = bodySchema.safeParse(body);
  if (!read.success) {
    throw new ArmError(400, 'LocationRequired', 'The location property is required for this definition.');
  }
  const location = regionOf(read.data.location);
  if (location in regions) return { location, tags: read.data.tags ?? {} };
  throw new ArmError(
    400,
    'LocationNotAvailableForResourceGroup',
    `The provided location '${location}' is not available for resource group. List of available regions is '${Object.keys(regions).join(',')}'.`,
  );
}
