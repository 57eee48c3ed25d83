import { readFile } from 'node:fs/promises';
import { ArmError, resourceNotFound } from './arm-error.ts';
import type { Route } from './route.ts';
import { firstRegion, firstResourceGroup, type State } from './state.ts';

const versions = [
  '2023-01-01',
  '2024-01-01',
  '2024-09-01',
  '2025-01-01',
  '2025-05-01',
  '2025-10-01',
  '2026-01-01',
  '2026-06-01',
];
/** The one cluster's name. */
const clusterName = 'modelferry';

/**
 * The routes of the managed cluster: there is one when a kubeconfig is where the Kubernetes simulator, or anybody, puts it. It is read
 * at each request, so the two may be started in any order.
 * @param kubeconfigFile none: there is no cluster
 * @see https://learn.microsoft.com/rest/api/aks/managed-clusters
 */
export function managedClusterRoutes({ subscriptionId }: State, kubeconfigFile: string | undefined): readonly Route[] {
  const kind = 'Microsoft.ContainerService/managedClusters';
  const inGroup = `/subscriptions/{subscription}/resourceGroups/{resourceGroup}/providers/${kind}`;
  const kubeconfig = async (): Promise<string | undefined> =>
    kubeconfigFile === undefined ? undefined : readFile(kubeconfigFile, 'utf8').catch(() => undefined);
  const view = (text: string): object => ({
    id: `/subscriptions/${subscriptionId}/resourceGroups/${firstResourceGroup}/providers/${kind}/${clusterName}`,
    name: clusterName,
    type: kind,
    location: firstRegion,
    tags: {},
    sku: { name: 'Base', tier: 'Free' },
    properties: {
      provisioningState: 'Succeeded',
      powerState: { code: 'Running' },
      fqdn: hostOf(text),
      enableRBAC: true,
      nodeResourceGroup: `MC_${firstResourceGroup}_${clusterName}_${firstRegion}`,
      agentPoolProfiles: [],
    },
  });
  const list = async (group?: string): Promise<readonly object[]> => {
    const text = await kubeconfig();
    const isThere = group === undefined || group.toLowerCase() === firstResourceGroup;
    return text === undefined || !isThere ? [] : [view(text)];
  };
  const find = async (parameters: Readonly<Record<string, string>>): Promise<string> => {
    const { resourceGroup = '', name = '' } = parameters;
    const text = await kubeconfig();
    const isThere = resourceGroup.toLowerCase() === firstResourceGroup && name.toLowerCase() === clusterName;
    if (text !== undefined && isThere) return text;
    throw resourceNotFound(`${kind}/${name}`, resourceGroup);
  };
  const credentials = (verb: string, name: string): Route => ({
    method: 'POST',
    path: `${inGroup}/{name}/${verb}`,
    apiVersions: versions,
    answer: async ({ parameters, url }) => {
      const format = url.searchParams.get('format');
      if (format !== null && !['azure', 'exec'].includes(format)) {
        throw new ArmError(
          400,
          'InvalidParameter',
          `The format '${format}' is invalid, 'azure' or 'exec' is required.`,
        );
      }
      const text = await find(parameters);
      return { status: 200, body: { kubeconfigs: [{ name, value: Buffer.from(text).toString('base64') }] } };
    },
  });
  const get = (path: string, answer: Route['answer']): Route => ({
    method: 'GET',
    path,
    apiVersions: versions,
    answer,
  });
  return [
    get(`/subscriptions/{subscription}/providers/${kind}`, async () => ({
      status: 200,
      body: { value: await list() },
    })),
    get(inGroup, async ({ parameters }) => ({ status: 200, body: { value: await list(parameters['resourceGroup']) } })),
    get(`${inGroup}/{name}`, async ({ parameters }) => ({ status: 200, body: view(await find(parameters)) })),
    credentials('listClusterUserCredential', 'clusterUser'),
    credentials('listClusterAdminCredential', 'clusterAdmin'),
  ];
}

function hostOf(kubeconfig: string): string | undefined {
  return /server:\s*["']?https?:\/\/([^\s"'/]+)/.exec(kubeconfig)?.[1];
}
