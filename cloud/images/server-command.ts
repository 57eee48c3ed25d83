import { serverPath } from './engine-layer.ts';

/**
 * Node's options for the scoring server. What a request leaves behind is garbage at once: 2 MB for what is new are collected more often, but in
 * a fraction of a millisecond, and stay in the processor's cache; one thread beside the server's own collects it. V8's middle compiler,
 * Maglev, leaves 15 MB behind that never come back, and the code that serves a minute later is the last compiler's either way.
 */
const nodeOptions = ['--max-semi-space-size=2', '--v8-pool-size=1', '--no-maglev'] as const;

/** What the server is started with, behind Node itself. */
export const serverArguments = [...nodeOptions, serverPath] as const;

/**
 * How the C library keeps memory: once, not once a thread; and what compiling took at the start goes back to the system, which it would not where
 * the library adapted its thresholds to it. @see mallopt(3)
 */
export const serverEnvironment = ['MALLOC_ARENA_MAX=1', 'MALLOC_TRIM_THRESHOLD_=1048576'] as const;
