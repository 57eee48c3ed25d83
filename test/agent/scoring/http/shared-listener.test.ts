import { writeFile } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SharedPort } from '../../../../cloud/deploy/local/host/shared-port.ts';
import { freePort } from '../../../../cloud/deploy/local/free-port.ts';
import { temporaryFolder } from '../../../temporary-folder.ts';
import { until } from '../../../until.ts';
import { startProgram } from '../scoring-program.ts';
import { makeRoot } from '../scoring-rig.ts';

/** Gives the status and whether the connection goes on. */
async function ask(port: number, agent: Agent): Promise<readonly [number | undefined, string | undefined]> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  get({ host: '127.0.0.1', port, path: '/', agent }, resolve).on('error', reject);
  const answer = await promise;
  answer.resume();
  await new Promise((ended) => answer.on('end', ended));
  return [answer.statusCode, answer.headers.connection];
}

test('a scoring server accepts at a socket that it was handed once the file is there, and ends each connection after a while', async () => {
  await using folder = await temporaryFolder();
  const port = await freePort();
  await using shared = new SharedPort();
  await shared.become({ host: '127.0.0.1', port, concurrentMax: 1, queueWaitMs: 1, scoringTimeoutMs: 1 });
  const file = join(folder.path, 'proven');
  await makeRoot(folder.path);
  const environment = { MODELFERRY_LISTEN_FD: '3', MODELFERRY_LISTEN_WHEN: file };
  await using program = startProgram(folder.path, environment, { socket: shared.socket });
  await program.url();
  using cleanup = new DisposableStack();
  const agent = cleanup.adopt(new Agent({ keepAlive: true, maxSockets: 1 }), (opened) => opened.destroy());
  await expect(ask(port, agent)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  await writeFile(file, '');
  await until(() => ask(port, new Agent()).catch(() => undefined));
  // A new connection is kept, until it is told that this is its last answer; the next one is kept again.
  for (let round = 0; round < 3; round += 1) {
    for (const said of ['keep-alive', 'close']) await until(async () => (await ask(port, agent))[1] === said);
  }
});
