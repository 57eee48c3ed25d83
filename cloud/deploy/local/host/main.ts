import { readdir, readFile, rm } from 'node:fs/promises';
import { enableCompileCache } from 'node:module';
import { dirname, join } from 'node:path';

// A service starts sooner from the second time on.
enableCompileCache();
const { openEngine } = await import('../../../../shared/containers/open-engine.ts');
const { createLogger } = await import('../../../../shared/log.ts');
const { LayoutStore } = await import('../../../../shared/oci/layout-store.ts');
const { runProgram } = await import('../../../../shared/process-entry.ts');
const { writeDurably } = await import('../../../../shared/durable-file.ts');
const { processMark } = await import('../../../../shared/oci/process-mark.ts');
const { desiredFile, hostDesiredSchema } = await import('../host-state.ts');
const { engineOwner, markFile, socketPath } = await import('../host-place.ts');
const { openControl } = await import('./control.ts');
const { ServiceHost } = await import('./service-host.ts');

/** The program that keeps one service of this machine: `main.ts <folder>`. It goes on when whoever started it ends. */
await runProgram(async ([folder = '']) => {
  const log = createLogger('service-host', { format: 'json' });
  const readDesired = async () =>
    hostDesiredSchema.parse(JSON.parse(await readFile(join(folder, desiredFile), 'utf8')));
  const desired = await readDesired();
  const layout = await LayoutStore.open(desired.layoutFolder);
  const { engine: kind } = desired.replica;
  // Services of one workspace have Node and the scoring server in common.
  const neighbours = async (): Promise<string[]> =>
    (await readdir(dirname(folder))).map((name) => join(dirname(folder), name));
  await using engine = await openEngine({
    engine: kind,
    layout,
    folder,
    owner: engineOwner(folder),
    neighbours,
    log,
  });
  await using host = new ServiceHost({ engine, folder, desired, log });
  const ended = new AbortController();
  await using _control = await openControl(socketPath(folder), {
    host,
    reload: async () => host.change(await readDesired()),
    stop: async () => {
      ended.abort();
      await working;
      await host.removeAll();
      // The answer goes out first.
      setTimeout(() => stopped.resolve(), 20);
    },
  });
  const stopped = Promise.withResolvers<void>();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.once(name, () => {
      ended.abort();
      stopped.resolve();
    });
  }
  process.on('SIGHUP', () => {});
  await writeDurably(join(folder, markFile), processMark());
  const working = host.run(ended.signal);
  await Promise.all([working, stopped.promise]);
  await rm(socketPath(folder), { force: true });
  return 0;
});
