import { chmod, cp, readFile, rm, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions } from 'esbuild';

// `npm run build`: makes dist/, which is what is published. Every program becomes one entry; what they share and what they
// load late become chunks beside them.
const root = fileURLToPath(new URL('..', import.meta.url));
const dist = `${root}dist`;

await rm(dist, { recursive: true, force: true });
const common: BuildOptions = {
  absWorkingDir: root,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  outExtension: { '.js': '.mjs' },
  outdir: 'dist',
  logLevel: 'warning',
};
await build({
  ...common,
  entryPoints: {
    main: 'cloud/main.ts',
    agent: 'agent/main.ts',
    simulators: 'simulators/main.ts',
    quickstart: 'simulators/quickstart/main.ts',
  },
  packages: 'external',
  splitting: true,
  chunkNames: 'chunk-[hash]',
});
// The scoring server stands alone in an image: all is bundled but the packages with native code.
await build({
  ...common,
  entryPoints: { scoring: 'agent/scoring/main.ts' },
  external: ['onnxruntime-node', 'better-sqlite3'],
  banner: {
    js: "import { createRequire as createBundleRequire } from 'node:module'; const require = createBundleRequire(import.meta.url);",
  },
});
await writeLauncher();
await cp(`${root}simulators/quickstart/digits`, `${dist}/digits`, { recursive: true });

/** `ferry` itself looks at Node's version before it loads what an older one cannot even parse. */
async function writeLauncher(): Promise<void> {
  const { engines } = JSON.parse(await readFile(`${root}package.json`, 'utf8')) as { engines: { node: string } };
  const wanted = engines.node.replace('>=', '');
  const launcher = `#!/usr/bin/env node
const wanted = '${wanted}'.split('.').map(Number);
const found = process.versions.node.split('.').map(Number);
const at = wanted.findIndex((number, index) => found[index] !== number);
if (at >= 0 && found[at] < wanted[at]) {
  console.error('error NODE_TOO_OLD: Cannot run ferry on Node ' + process.versions.node + ': Node ${wanted} or later was wanted');
  process.exitCode = 1;
} else {
  await import('./main.mjs');
}
`;
  await writeFile(`${dist}/ferry.mjs`, launcher);
  await chmod(`${dist}/ferry.mjs`, 0o755);
}
