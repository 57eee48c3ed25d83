import { createRequire } from 'node:module';

/** The package that the SDK asks by: a dependency of its own. */
const asking = 'getos';

type Answer = (error: unknown, system: unknown) => void;

/**
 * Has the device SDK ask only once what system it runs on. It asks for each connection, and on Debian runs a program for that, which is most of
 * what thousands of connections of one process cost. In the published package the SDK is bundled, and asks as ever.
 */
export function askPlatformOnce(): void {
  try {
    const require = createRequire(createRequire(import.meta.url).resolve('azure-iot-device'));
    const path = require.resolve(asking);
    const ask = require(path) as (answer: Answer) => void;
    const module = require.cache[path];
    if (module === undefined) return;
    let asked: Promise<unknown> | undefined;
    module.exports = (answer: Answer): void => {
      asked ??= new Promise((resolve) => ask((_error, system) => resolve(system ?? { os: process.platform })));
      void asked.then((system) => answer(null, system));
    };
  } catch {
    // Nothing but time is lost.
  }
}
