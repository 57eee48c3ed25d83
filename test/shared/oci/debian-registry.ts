import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { temporaryFolder } from '../../temporary-folder.ts';
import { until } from '../../until.ts';
import { hasCommand } from './commands.ts';

const program: string = 'docker-registry';

/** Whether Debian's `docker-registry` package is installed. */
export const hasDebianRegistry = await hasCommand(program, '--version');

/** Starts Debian's `docker-registry`, the reference that our client has to get on with, over an empty folder. */
export async function startDebianRegistry(): Promise<{ readonly host: string } & AsyncDisposable> {
  const folder = await temporaryFolder();
  const port = await freePort();
  const configuration = join(folder.path, 'config.yml');
  await writeFile(
    configuration,
    `version: 0.1
log: { level: error }
storage:
  filesystem: { rootdirectory: ${JSON.stringify(join(folder.path, 'data'))} }
  delete: { enabled: true }
http: { addr: "127.0.0.1:${port}" }
`,
  );
  const child: ChildProcess = spawn(program, ['serve', configuration], { stdio: 'ignore' });
  const host = `localhost:${port}`;
  await until(async () => (await fetch(`http://${host}/v2/`)).ok, { what: 'an answer of docker-registry' });
  return {
    host,
    async [Symbol.asyncDispose]() {
      child.kill();
      await once(child, 'exit');
      await folder[Symbol.asyncDispose]();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
