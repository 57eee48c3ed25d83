import { resourceNotFound } from './arm-error.ts';
import type { Route } from './route.ts';
import { firstRegion, firstResourceGroup, type State } from './state.ts';

/** The storage account of the local world. */
export interface SimulatedStorage {
  readonly accountName: string;
  readonly accountKey: string;
  readonly blobEndpoint: string;
}

/** The IoT Hub of the local world. */
export interface SimulatedHub {
  readonly name: string;
  readonly hostName: string;
  /** The service connection string of each shared access policy, by its name. */
  readonly connectionStrings: Readonly<Record<string, string>>;
}

/** What is there beside container groups, read only. */
export interface Accounts {
  readonly storage?: SimulatedStorage | undefined;
  readonly hub?: SimulatedHub | undefined;
}

const storageVersions = [
  '2021-09-01',
  '2022-09-01',
  '2023-01-01',
  '2023-05-01',
  '2024-01-01',
  '2025-01-01',
  '2025-06-01',
  '2025-08-01',
  '2026-09-01',
];
const hubVersions = ['2021-07-02', '2022-04-30-preview', '2023-06-30', '2023-06-30-preview'];

/**
 * The routes of the storage account and the IoT Hub: what they are called, and their keys.
 * @see https://learn.microsoft.com/rest/api/storagerp/storage-accounts/list-keys
 * @see https://learn.microsoft.com/rest/api/iothub/iot-hub-resource/list-keys
 */
export function accountRoutes({ subscriptionId }: State, { storage, hub }: Accounts): readonly Route[] {
  const within = `/subscriptions/${subscriptionId}/resourceGroups/${firstResourceGroup}/providers`;
  return [
    ...accountKindRoutes({
      kind: 'Microsoft.Storage/storageAccounts',
      apiVersions: storageVersions,
      account: storage && {
        name: storage.accountName,
        view: {
          id: `${within}/Microsoft.Storage/storageAccounts/${storage.accountName}`,
          name: storage.accountName,
          type: 'Microsoft.Storage/storageAccounts',
          location: firstRegion,
          tags: {},
          kind: 'StorageV2',
          sku: { name: 'Standard_LRS', tier: 'Standard' },
          properties: {
            provisioningState: 'Succeeded',
            primaryEndpoints: { blob: `${storage.blobEndpoint}/` },
            primaryLocation: firstRegion,
            statusOfPrimary: 'available',
            supportsHttpsTrafficOnly: true,
          },
        },
        keys: [storageKey(storage.accountKey)],
        keysAs: 'keys',
      },
    }),
    ...accountKindRoutes({
      kind: 'Microsoft.Devices/IotHubs',
      apiVersions: hubVersions,
      account: hub && {
        name: hub.name,
        view: {
          id: `${within}/Microsoft.Devices/IotHubs/${hub.name}`,
          name: hub.name,
          type: 'Microsoft.Devices/IotHubs',
          location: firstRegion,
          tags: {},
          etag: 'AAAAAAAAAAE=',
          sku: { name: 'S1', tier: 'Standard', capacity: 1 },
          properties: { state: 'Active', provisioningState: 'Succeeded', hostName: hub.hostName },
        },
        keys: Object.entries(hub.connectionStrings).map(([keyName, text]) => hubKey(keyName, text)),
        keysAs: 'value',
      },
    }),
  ];
}

interface AccountKind {
  readonly kind: string;
  readonly apiVersions: readonly string[];
  readonly account:
    | undefined
    | {
        readonly name: string;
        readonly view: object;
        readonly keys: readonly (object & { readonly keyName: string })[];
        /** Field of the answer that they are in. */
        readonly keysAs: 'keys' | 'value';
      };
}

function accountKindRoutes({ kind, apiVersions, account }: AccountKind): readonly Route[] {
  const provider = `/subscriptions/{subscription}/providers/${kind}`;
  const inGroup = `/subscriptions/{subscription}/resourceGroups/{resourceGroup}/providers/${kind}`;
  const isThere = (group: string | undefined): boolean => group?.toLowerCase() === firstResourceGroup;
  const find = (parameters: Readonly<Record<string, string>>): NonNullable<AccountKind['account']> => {
    const { resourceGroup = '', name = '' } = parameters;
    if (account !== undefined && isThere(resourceGroup) && name.toLowerCase() === account.name) return account;
    throw resourceNotFound(`${kind}/${name}`, resourceGroup);
  };
  const list = account === undefined ? [] : [account.view];
  const route = (method: string, path: string, answer: Route['answer']): Route => ({
    method,
    path,
    apiVersions,
    answer,
  });
  return [
    route('GET', provider, () => ({ status: 200, body: { value: list } })),
    route('GET', inGroup, ({ parameters }) => ({
      status: 200,
      body: { value: isThere(parameters['resourceGroup']) ? list : [] },
    })),
    route('GET', `${inGroup}/{name}`, ({ parameters }) => ({ status: 200, body: find(parameters).view })),
    route('POST', `${inGroup}/{name}/listKeys`, ({ parameters }) => {
      const { keys, keysAs } = find(parameters);
      return { status: 200, body: { [keysAs]: keys } };
    }),
    ...(kind === 'Microsoft.Devices/IotHubs'
      ? [
          route('POST', `${inGroup}/{name}/IotHubKeys/{key}/listkeys`, ({ parameters }) => {
            const found = find(parameters).keys.find(({ keyName }) => keyName === parameters['key']);
            if (found === undefined)
              throw resourceNotFound(
                `${kind}/${parameters['name']}/IotHubKeys/${parameters['key']}`,
                firstResourceGroup,
              );
            return { status: 200, body: found };
          }),
        ]
      : []),
  ];
}

function storageKey(value: string): { readonly keyName: string } & Record<string, string> {
  return { keyName: 'key1', value, permissions: 'FULL' };
}

/** What the policies of every new hub allow (iot-hub-dev-guide-sas). */
const rights: Readonly<Record<string, string>> = {
  iothubowner: 'RegistryWrite, ServiceConnect, DeviceConnect',
  service: 'ServiceConnect',
  device: 'DeviceConnect',
  registryRead: 'RegistryRead',
  registryReadWrite: 'RegistryWrite',
};

function hubKey(keyName: string, connectionString: string): { readonly keyName: string } & Record<string, string> {
  const key = /SharedAccessKey=([^;]+)/.exec(connectionString)?.[1] ?? '';
  return { keyName, primaryKey: key, secondaryKey: key, rights: rights[keyName] ?? '' };
}
