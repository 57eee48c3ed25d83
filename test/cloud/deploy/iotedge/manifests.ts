/**
 * Gives a deployment as a user of Azure ML v1 has it, without the scoring module: one module that filters, its desired properties, its route,
 * and the registry that it comes from.
 */
export function wholeManifest({
  image = 'myregistry.azurecr.io/filter:1',
  createOptions = '{}',
}: { readonly image?: string; readonly createOptions?: string } = {}) {
  const microsoft = (name: string) => ({
    type: 'docker',
    settings: { image: `mcr.microsoft.com/azureiotedge-${name}:1.5`, createOptions: '{}' },
  });
  const credentials = { username: 'puller', password: 'a-password-of-the-registry', address: 'myregistry.azurecr.io' };
  return {
    modulesContent: {
      $edgeAgent: {
        'properties.desired': {
          schemaVersion: '1.0',
          runtime: {
            type: 'docker',
            settings: { minDockerVersion: 'v1.25', registryCredentials: { mine: credentials } },
          },
          systemModules: {
            edgeAgent: microsoft('agent'),
            edgeHub: { ...microsoft('hub'), status: 'running', restartPolicy: 'always' },
          },
          modules: {
            filter: {
              version: '1.0',
              type: 'docker',
              status: 'running',
              restartPolicy: 'always',
              settings: { image, createOptions },
            },
          },
        },
      },
      $edgeHub: {
        'properties.desired': {
          schemaVersion: '1.0',
          routes: { filtered: 'FROM /messages/modules/filter/* INTO $upstream' },
          storeAndForwardConfiguration: { timeToLiveSecs: 7200 },
        },
      },
      filter: { 'properties.desired': { least: 3 } },
    },
  };
}
