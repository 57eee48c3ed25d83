import { expect, test } from 'vitest';
import { readDesired } from '../../agent/desired-state.ts';
import { edgeManifestSchema } from '../../shared/edge/manifest.ts';
import { Rig } from './rig.ts';

type Json = Record<string, unknown>;

const microsoft = 'mcr.microsoft.com';
const text = (options: Json): string => JSON.stringify(options);

/** The hub of Microsoft's runtime, with the ports that every sample has it publish. */
const edgeHub = {
  type: 'docker',
  status: 'running',
  restartPolicy: 'always',
  settings: {
    image: `${microsoft}/azureiotedge-hub:1.5`,
    createOptions: text({
      HostConfig: {
        PortBindings: Object.fromEntries(['443', '5671', '8883'].map((port) => [`${port}/tcp`, [{ HostPort: port }]])),
      },
    }),
  },
};

const edgeAgent = {
  type: 'docker',
  settings: { image: `${microsoft}/azureiotedge-agent:1.5`, createOptions: '{}' },
};

const sensor = {
  version: '1.0',
  type: 'docker',
  status: 'running',
  restartPolicy: 'always',
  settings: { image: `${microsoft}/azureiotedge-simulated-temperature-sensor:1.5`, createOptions: '{}' },
};

const upstream = { route: 'FROM /messages/* INTO $upstream' };
const twoHours = { timeToLiveSecs: 7200 };

function agentOf(modules: Json, changes: Json = {}): Json {
  return {
    'properties.desired': {
      schemaVersion: '1.1',
      runtime: {
        type: 'docker',
        settings: { minDockerVersion: 'v1.25', loggingOptions: '', registryCredentials: {} },
      },
      systemModules: { edgeAgent, edgeHub },
      modules,
      ...changes,
    },
  };
}

function hubOf(routes: Json, changes: Json = {}): Json {
  return {
    'properties.desired': { schemaVersion: '1.1', routes, storeAndForwardConfiguration: twoHours, ...changes },
  };
}

/** What Microsoft's portal, templates and articles deploy, by what each of them shows. */
const samples: Readonly<Record<string, { readonly $edgeAgent: Json; readonly $edgeHub: Json } & Json>> = {
  "the portal's quickstart, schema 1.0": {
    $edgeAgent: agentOf({ SimulatedTemperatureSensor: sensor }, { schemaVersion: '1.0' }),
    $edgeHub: hubOf({ upstream: upstream.route }, { schemaVersion: '1.0' }),
    SimulatedTemperatureSensor: { 'properties.desired': { SendData: true, SendInterval: 5 } },
  },
  'a solution of the code editor: two modules, a route between them, a private registry': {
    $edgeAgent: agentOf(
      {
        tempSensor: sensor,
        FilterModule: {
          version: '1.0.0',
          type: 'docker',
          status: 'running',
          restartPolicy: 'on-unhealthy',
          env: { TemperatureThreshold: { value: 25 }, Verbose: { value: false }, Greeting: { value: 'hello' } },
          settings: { image: 'contoso.azurecr.io/filtermodule:0.0.1-amd64', createOptions: '' },
        },
      },
      {
        runtime: {
          type: 'docker',
          settings: {
            minDockerVersion: 'v1.25',
            loggingOptions: '',
            registryCredentials: {
              contoso: { username: 'contoso', password: 'xyzzy', address: 'contoso.azurecr.io' },
            },
          },
        },
      },
    ),
    $edgeHub: hubOf({
      sensorToFilter:
        'FROM /messages/modules/tempSensor/outputs/temperatureOutput INTO BrokeredEndpoint("/modules/FilterModule/inputs/input1")',
      FilterModuleToIoTHub: 'FROM /messages/modules/FilterModule/outputs/* INTO $upstream',
    }),
    FilterModule: { 'properties.desired': { TemperatureThreshold: 25 } },
  },
  'priorities and times of routes, start order, pull policy, limits of the store': {
    $edgeAgent: agentOf(
      {
        first: { ...sensor, startupOrder: 0, imagePullPolicy: 'on-create' },
        second: { ...sensor, startupOrder: 1 },
      },
      {
        systemModules: {
          edgeAgent: {
            ...edgeAgent,
            imagePullPolicy: 'on-create',
            env: { UpstreamProtocol: { value: 'AmqpWs' }, SendRuntimeQualityTelemetry: { value: 'false' } },
          },
          edgeHub: { ...edgeHub, startupOrder: 0, env: { OptimizeForPerformance: { value: 'false' } } },
        },
      },
    ),
    $edgeHub: hubOf(
      { urgent: { ...upstream, priority: 0, timeToLiveSecs: 1800 }, rest: { ...upstream, priority: 9 } },
      { storeAndForwardConfiguration: { ...twoHours, storeLimits: { maxSizeBytes: 1_000_000_000 } } },
    ),
  },
  'the storage module: folders of the machine, ports, a twin with its policies': {
    $edgeAgent: agentOf({
      azureblobstorageoniotedge: {
        ...sensor,
        settings: {
          image: `${microsoft}/azure-blob-storage:latest`,
          createOptions: text({
            Env: ['LOCAL_STORAGE_ACCOUNT_NAME=local', 'LOCAL_STORAGE_ACCOUNT_KEY=a2V5'],
            HostConfig: {
              Binds: ['/srv/containerdata:/blobroot'],
              PortBindings: { '11002/tcp': [{ HostPort: '11002' }] },
            },
          }),
        },
      },
    }),
    $edgeHub: hubOf({ upstream }),
    azureblobstorageoniotedge: {
      'properties.desired': {
        deviceAutoDeleteProperties: { deleteOn: true, deleteAfterMinutes: 60, retainWhileUploading: true },
        deviceToCloudUploadProperties: { uploadOn: true, uploadOrder: 'OldestFirst' },
      },
    },
  },
  'a database: mounts, capabilities, a host name, an environment of any type': {
    $edgeAgent: agentOf({
      AzureSQLEdge: {
        ...sensor,
        env: { ACCEPT_EULA: { value: 'Y' }, SA_PASSWORD: { value: 'Xyzzy-1' }, MSSQL_LCID: { value: '1033' } },
        settings: {
          image: `${microsoft}/azure-sql-edge`,
          createOptions: text({
            HostConfig: {
              CapAdd: ['SYS_PTRACE'],
              Binds: ['sqlvolume:/sqlvolume'],
              PortBindings: { '1433/tcp': [{ HostPort: '1433' }] },
              Mounts: [{ Type: 'volume', Source: 'sqlvolume', Target: '/var/opt/mssql' }],
            },
            User: '0:0',
            Hostname: 'sqledge',
          }),
        },
      },
    }),
    $edgeHub: hubOf({ upstream }),
  },
  'the collector of metrics, and a module that is to be stopped': {
    $edgeAgent: agentOf({
      IoTEdgeMetricsCollector: {
        ...sensor,
        env: {
          UploadTarget: { value: 'IoTMessage' },
          ScrapeFrequencyInSecs: { value: 300 },
          MetricsEndpointsCSV: { value: 'http://edgeHub:9600/metrics,http://edgeAgent:9600/metrics' },
        },
      },
      spare: { ...sensor, status: 'stopped', restartPolicy: 'never' },
    }),
    $edgeHub: hubOf({ FromCollector: 'FROM /messages/modules/IoTEdgeMetricsCollector/* INTO $upstream' }),
  },
};

test.each(Object.entries(samples))('a manifest for Microsoft is taken as it is: %s', (_, modulesContent) => {
  expect(edgeManifestSchema.safeParse({ modulesContent }).error).toBeUndefined();
  expect(readDesired(modulesContent.$edgeAgent['properties.desired'])).toMatchObject({ code: 200, ignored: [] });
});

test("runAgent() runs the modules of each of Microsoft's manifests, and says what it does not do with an edge hub", async () => {
  await using rig = await Rig.open();
  await using _agent = rig.startAgent();
  const image = await rig.putImage();
  for (const [sample, content] of Object.entries(samples)) {
    // The images themselves are Microsoft's; all else is deployed as it stands.
    const modulesContent = JSON.parse(
      JSON.stringify(content).replaceAll(
        /"image":"[^"]*(?<!azureiotedge-agent:1\.5|azureiotedge-hub:1\.5)"/g,
        `"image":"${image}"`,
      ),
    ) as typeof content;
    await rig.request('POST', '/devices/gate/applyConfigurationContent', { modulesContent });
    const { $version } = (await rig.twin()).properties.desired;
    const { modules = {}, ...reported } = await rig.reported($version, 200);
    const desired = modulesContent.$edgeAgent['properties.desired'] as { modules: Record<string, { status: string }> };
    const wanted = Object.entries(desired.modules).map(([name, { status }]) => [name, status]);
    const found = Object.entries(modules).map(([name, { runtimeStatus }]) => [name, runtimeStatus]);
    expect({ sample, found: Object.fromEntries(found) }).toEqual({ sample, found: Object.fromEntries(wanted) });
    expect(reported).toMatchObject({
      systemModules: { edgeHub: { runtimeStatus: 'stopped', statusDescription: expect.stringContaining('routes') } },
    });
  }
}, 120_000);
