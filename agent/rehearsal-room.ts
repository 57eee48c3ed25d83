import type { ModuleSpec } from './module-spec.ts';

/** What a module is taken to need whose deployment sets no limit, in bytes: a scoring server with a model of some 10 MB, and room to start. */
const needBytes = 256 * 1024 * 1024;
/** What stays free for everything else, in bytes. */
const spareBytes = 64 * 1024 * 1024;

/** Gives the modules for which there is too little memory to run a second one beside the first. */
export function roomlessModules(specs: readonly ModuleSpec[], freeBytes: number): Set<string> {
  const roomless = specs.filter(({ createOptions }) => {
    const limit = createOptions.HostConfig?.Memory;
    return (limit === undefined || limit === 0 ? needBytes : limit) + spareBytes > freeBytes;
  });
  return new Set(roomless.map(({ name }) => name));
}
