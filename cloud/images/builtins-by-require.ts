import { createRequire } from 'node:module';
import type { Plugin } from 'esbuild';

const namespace = 'builtin';
const requireHere = createRequire(import.meta.url);

/**
 * Loads Node's own modules by `require` in a bundle, and of each only the members that are used: as imports, node:fs, node:http and others would
 * evaluate all that they can give, streams, `fetch` and WebSocket among that, which takes a program that needs none of it its time and 3 MB.
 */
export function builtinsByRequire(): Plugin {
  return {
    name: 'builtins-by-require',
    setup(build) {
      build.onResolve({ filter: /^node:/ }, ({ path, kind, importer }) => {
        // For subcommands that are programs of their own, of which there are none here.
        if (path === 'node:child_process' && importer.includes('/node_modules/commander/')) {
          return { path, namespace: 'unused' };
        }
        return kind === 'import-statement' ? { path, namespace } : { path, external: true };
      });
      build.onLoad({ filter: /.*/, namespace: 'unused' }, () => ({ contents: 'module.exports = {};' }));
      build.onLoad({ filter: /.*/, namespace }, ({ path }) => ({ contents: membersOf(path) }));
    },
  };
}

/** Gives a module whose members are taken from Node's only where something uses them. */
function membersOf(path: string): string {
  const names = Object.keys(requireHere(path) as object).filter((name) => name !== 'default');
  const members = names.map((name, index) => `const m${index} = /* @__PURE__ */ (() => all.${name})();`);
  const exported = names.map((name, index) => `m${index} as ${name}`);
  return `const all = require('${path}');\n${members.join('\n')}\nexport { all as default, ${exported.join(', ')} };`;
}

/** Says whether a bundle's input is a file, and none of Node's own modules. */
export function isFile(input: string): boolean {
  return !input.startsWith(`${namespace}:`);
}
