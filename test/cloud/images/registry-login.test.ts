import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, request as forward } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createImage } from '../../../cloud/images/create.ts';
import { registerModel } from '../../../cloud/models/register.ts';
import { createLogger } from '../../../shared/log.ts';
import { startRegistry } from '../../../simulators/registry/registry.ts';
import { runFerry } from '../../ferry.ts';
import { digitsFile, workspaceRig } from '../workspace-rig.ts';

const onLinux = process.platform === 'linux';

test.runIf(onLinux)('ferry image create signs in as docker login has left it, to pull a base and to push', async () => {
  await using rig = await workspaceRig();
  await registerModel(rig.workspace, { path: digitsFile, name: 'digits' });
  const log = createLogger('registry', { level: 'silent' });
  await using registry = await startRegistry({ layoutDir: join(rig.folder, 'registry'), port: 0, log });
  await using guarded = await guard(registry.host, 'user:secret');
  // Any image upon which one can build will do: one of ours, pushed without a password.
  await rig.workspace.setEndpoints({ registry: registry.host }, {});
  const { image: base } = await createImage(rig.workspace, { models: [{ name: 'digits' }], name: 'base-image' });
  await rig.workspace.setEndpoints({ registry: guarded.host }, {});

  const create = (folder: string) =>
    runFerry(
      ['image', 'create', '--model', 'digits', '--base', `${guarded.host}/base-image@${base.digest}`, '--json'],
      {
        cwd: rig.folder,
        env: { DOCKER_CONFIG: folder },
      },
    );
  const refused = await create(join(rig.folder, 'nobody'));
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining(guarded.host) });
  const auth = Buffer.from('user:secret').toString('base64');
  await writeFile(join(rig.folder, 'config.json'), JSON.stringify({ auths: { [guarded.host]: { auth } } }));
  const made = await create(rig.folder);
  expect(made).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(made.stdout)).toMatchObject({ id: 'digits:1', reference: expect.stringContaining(guarded.host) });
});

/** Stands before a registry and lets nobody through without the user and password. */
async function guard(host: string, userAndPassword: string): Promise<{ readonly host: string } & AsyncDisposable> {
  const wanted = `Basic ${Buffer.from(userAndPassword).toString('base64')}`;
  const [, port] = host.split(':');
  const server = createServer((request, response) => {
    if (request.headers.authorization !== wanted) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end();
      request.resume();
      return;
    }
    const { method, url, headers } = request;
    const onward = forward({ host: '127.0.0.1', port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
