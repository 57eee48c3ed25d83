import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openCertificates } from '../../simulators/certificates.ts';
import { until } from '../until.ts';
import { ClusterWorld, hasCluster, pictures } from './cluster-world.ts';
import { scoreOverTls, tlsFlags, writeTls } from './tls-client.ts';

const key = 'a-key-of-the-users-own';

test.skipIf(!hasCluster)(
  'a service on AKS by the name of the cluster: namespace, TLS, collection, Application Insights, deletion leaves nothing',
  { timeout: 300_000 },
  async () => {
    await using world = await ClusterWorld.open(['storage', 'arm']);
    await using insights = await startInsights(world);
    await world.makeImages();
    const attach = ['compute', 'attach', 'prod', '--namespace', 'models', '--cluster'];
    await world.done(...attach, 'other');
    const small = ['--num-replicas', '1', '--cpu-cores', '0.1', '--memory-gb', '0.25', '--primary-key', key];
    const certificate = await writeTls(world.folder);
    const create = [
      'service',
      'create',
      'digits',
      '--image',
      'digits:1',
      '--target',
      'aks/prod',
      ...small,
      ...tlsFlags,
    ];
    const unknown = await world.ferry(...create);
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toMatch(/Cannot fetch the credentials of the cluster "other".*ResourceNotFound/);
    await world.done(...attach, 'modelferry');

    const secretsFile = join(world.folder, '.ferry', 'secrets.json');
    const secrets = JSON.parse(await readFile(secretsFile, 'utf8')) as Record<string, string>;
    secrets['appInsightsConnectionString'] = insights.connectionString;
    await writeFile(secretsFile, JSON.stringify(secrets), { mode: 0o600 });
    const created = await world.done(...create, '--collect', '--app-insights', '--wait');
    expect(created).toMatchObject({
      state: 'Healthy',
      scoringAddress: expect.stringMatching(/^https:\/\/127\..*:443$/),
    });
    const address = String(created['scoringAddress']);
    const ask = (given: string): Promise<number> => scoreOverTls(address, { certificate, key: given, body: pictures });
    expect(await ask('not-a-key-of-this-service')).toBe(401);
    expect(await ask(key)).toBe(200);
    await until(() => insights.received > 0, { timeoutMs: 60_000 });

    // Each update signs anew, in the secret alone: no pod is started for it.
    const secretOf = async (): Promise<Record<string, string>> =>
      (await world.core.readNamespacedSecret({ name: 'digits-secrets', namespace: 'models' })).data ?? {};
    const podsOf = async (): Promise<unknown> =>
      (await world.core.listNamespacedPod({ namespace: 'models' })).items.map(({ metadata }) => metadata?.uid);
    const [before, pods] = [await secretOf(), await podsOf()];
    await world.done('service', 'update', 'digits', '--wait');
    const after = await secretOf();
    expect(after['upload-url']).not.toBe(before['upload-url']);
    expect(after['app-insights']).toBe(before['app-insights']);
    expect(await podsOf()).toEqual(pods);
    const shown = JSON.stringify(await world.done('service', 'show', 'digits'));
    const signed = Buffer.from(after['upload-url'] ?? '', 'base64').toString();
    expect(signed).toContain('sig=');
    expect(shown).not.toContain(signed);

    await until(
      async () => JSON.stringify(await world.done('data', 'list', '--service', 'digits')).includes('inputs'),
      { timeoutMs: 90_000 },
    );
    await world.done('service', 'delete', 'digits');
    expect((await world.core.listNamespacedSecret({ namespace: 'models' })).items).toEqual([]);
    expect((await world.core.listNamespacedService({ namespace: 'models' })).items).toEqual([]);
    await until(async () => (await world.core.listNamespacedPod({ namespace: 'models' })).items.length === 0);
  },
);

/** Takes what would go to Application Insights, with the certificate of the local world, which the pods trust for its storage. */
async function startInsights({ folder }: ClusterWorld) {
  let received = 0;
  const { certPem, keyPem } = await openCertificates(join(folder, '.ferry', 'world', 'certificates'));
  const server = createServer({ cert: certPem, key: keyPem }, (incoming, response) => {
    incoming.resume();
    incoming.on('end', () => {
      received += 1;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ itemsReceived: 1, itemsAccepted: 1, errors: [] }));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    connectionString: `InstrumentationKey=00000000-0000-4000-8000-000000000001;IngestionEndpoint=https://localhost:${port}/`,
    get received() {
      return received;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
