import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { openCertificates } from '../../simulators/certificates.ts';
import type { StorageAccount } from '../../simulators/hub/uploads.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { until } from '../until.ts';

/** The key that every Azurite has; it is in its documentation. */
const accountKey = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

/** Starts Azurite's blob service over HTTPS on a free port. */
export async function openAzurite(): Promise<
  { readonly account: StorageAccount; readonly caFile: string } & AsyncDisposable
> {
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const certificates = await openCertificates(folder.path);
  const program = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js');
  const args = [
    '--inMemoryPersistence',
    '--loose',
    '--skipApiVersionCheck',
    '--silent',
    '--disableTelemetry',
    '--blobPort',
    '0',
  ];
  const tls = ['--cert', certificates.certFile, '--key', certificates.keyFile];
  const child = spawn(process.execPath, [program, ...args, ...tls], {
    cwd: folder.path,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  cleanup.defer(async () => {
    if (child.exitCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const port = await until(() => /listens? on https:\/\/[^:]+:(\d+)/.exec(output)?.[1], {
    what: 'the start of Azurite',
    timeoutMs: 20_000,
  });
  const disposal = cleanup.move();
  return {
    account: { blobHost: `localhost:${port}/devstoreaccount1`, accountName: 'devstoreaccount1', accountKey },
    caFile: certificates.caFile,
    [Symbol.asyncDispose]: async () => await disposal.disposeAsync(),
  };
}
