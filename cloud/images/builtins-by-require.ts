import type { Plugin } from 'esbuild';

const namespace = 'builtin';

/**
 * Loads Node's own modules by `require` in a bundle: as imports, node:fs, node:http and others would evaluate all that they can give, streams,
 * `fetch` and WebSocket among that, which takes a program that needs none of it its time and 3 MB.
 */
export function builtinsByRequire(): Plugin {
  return {
    name: 'builtins-by-require',
    setup(build) {
      build.onResolve({ filter: /^node:/ }, ({ path, kind }) =>
        kind === 'import-statement' ? { path, namespace } : { path, external: true },
      );
      build.onLoad({ filter: /.*/, namespace }, ({ path }) => ({ contents: `module.exports = require('${path}');` }));
    },
  };
}

/** Says whether a bundle's input is a file, and none of Node's own modules. */
export function isFile(input: string): boolean {
  return !input.startsWith(`${namespace}:`);
}
