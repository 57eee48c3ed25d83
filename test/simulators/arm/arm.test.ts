import { createServer } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openCertificates } from '../../../simulators/certificates.ts';
import { startArm } from '../../../simulators/arm/arm.ts';
import { createLogger } from '../../../shared/log.ts';
import { credentialOf, groupOf, openArmRig, stayingScript } from '../../conformance/arm-rig.ts';
import { dockerAnswers } from '../../docker.ts';
import { until } from '../../until.ts';

const quick = { updateIntervalInMs: 50 };
const log = createLogger('test', { level: 'silent' });

test('groups, secrets and stopped groups are there again after a restart, and what was left running is not twice there', async () => {
  await using rig = await openArmRig();
  const folder = join(rig.folder, 'again');
  const certificates = await openCertificates(join(rig.folder, 'certificates'));
  const options = { folder, port: 0, certificates, engine: 'process', log } as const;
  const image = await rig.image(stayingScript);
  const path = (id: string, name: string): string =>
    `/subscriptions/${id}/resourceGroups/local/providers/Microsoft.ContainerInstance/containerGroups${name}?api-version=2023-05-01`;
  const call = async (arm: Awaited<ReturnType<typeof startArm>>, method: string, name: string, body?: unknown) => {
    const { token } = await credentialOf(arm).getToken('https://management.azure.com/.default');
    const answer = await fetch(`${arm.endpoint}${path(arm.subscriptionId, name)}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return (answer.status === 204 ? {} : await answer.json()) as { properties: { instanceView: { state: string } } };
  };
  const stateOf = async (arm: Awaited<ReturnType<typeof startArm>>, name: string) =>
    (await call(arm, 'GET', `/${name}`)).properties.instanceView.state;
  const secret = await (async () => {
    await using first = await startArm(options);
    const resources = { requests: { cpu: 0.5, memoryInGB: 0.5 } };
    const body = { properties: { osType: 'Linux', containers: [{ name: 'main', properties: { image, resources } }] } };
    await call(first, 'PUT', '/running', body);
    await call(first, 'PUT', '/stopped', body);
    await until(
      async () => (await stateOf(first, 'running')) === 'Running' && (await stateOf(first, 'stopped')) === 'Running',
    );
    await call(first, 'POST', '/stopped/stop');
    return first.clientSecret;
  })();
  await using second = await startArm(options);
  expect(second.clientSecret).toBe(secret);
  await until(async () => (await stateOf(second, 'running')) === 'Running');
  expect(await stateOf(second, 'stopped')).toBe('Stopped');
});

test('the password for a registry is really used: a wrong one is refused', async () => {
  const server = createServer((request, response) => {
    const isLetIn = request.headers.authorization === `Basic ${Buffer.from('me:right').toString('base64')}`;
    response.writeHead(isLetIn ? 404 : 401, { 'www-authenticate': 'Basic realm="registry"' }).end();
    seen.push(isLetIn);
  });
  const seen: boolean[] = [];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => void server.close());
  await using rig = await openArmRig();
  const address = server.address();
  const host = `localhost:${typeof address === 'object' ? address?.port : ''}`;
  const group = groupOf(`${host}/digits:1`, {
    imageRegistryCredentials: [{ server: host, username: 'me', password: 'right' }],
  });
  await expect(rig.containers.containerGroups.beginCreateOrUpdate('local', 'digits', group)).rejects.toMatchObject({
    code: 'InaccessibleImage',
  });
  expect(seen).toContain(true);
});

test.skipIf(!dockerAnswers)(
  'a container group runs on Docker, with its volumes, and nothing is left of it',
  async () => {
    await using rig = await openArmRig({ engine: 'docker' });
    const image = await rig.image(`cat /mnt/secrets/file; ${stayingScript}`);
    const [main] = groupOf(image).containers;
    const group = groupOf(image, {
      volumes: [{ name: 'secrets', secret: { file: Buffer.from('from a file\n').toString('base64') } }],
      containers:
        main === undefined ? [] : [{ ...main, volumeMounts: [{ name: 'secrets', mountPath: '/mnt/secrets' }] }],
    });
    await rig.containers.containerGroups.beginCreateOrUpdateAndWait('local', 'digits', group, quick);
    const logs = await until(async () => {
      const { content } = await rig.containers.containers.listLogs('local', 'digits', 'main');
      return content?.includes('hello') === true ? content : undefined;
    });
    expect(logs).toBe('from a file\nhello \n');
    await rig.containers.containerGroups.beginDeleteAndWait('local', 'digits', quick);
  },
);
