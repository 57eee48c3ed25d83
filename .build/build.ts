import { chmod, cp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type BuildOptions, type Plugin } from 'esbuild';
import { builtinsByRequire } from '../cloud/images/builtins-by-require.ts';
import { packagesOf } from '../cloud/images/npm-packages.ts';
import { npmComponent } from '../cloud/images/sbom.ts';

// `npm run build`: makes dist/, which is what is published. Every program becomes one entry; what they share and what they
// load late become chunks beside them.
const root = fileURLToPath(new URL('..', import.meta.url));
const dist = `${root}dist`;

/** Packages that go into the bundles: what every command loads, and all that the agent keeps in memory for months. */
const inlined = [
  'azure-iot-device',
  'azure-iot-device-mqtt',
  'cli-table3',
  'commander',
  'pino',
  'tar-stream',
  'yaml',
  'zod',
];

/** Commands that a pipeline calls again and again. */
const quickNouns = ['model', 'image', 'push', 'apply'];

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
// A bundle with CommonJS packages in it needs a `require` for Node's own modules.
const banner = {
  js: "import { createRequire as createBundleRequire } from 'node:module'; const require = createBundleRequire(import.meta.url);",
};
const programs: BuildOptions = {
  ...common,
  banner,
  // Node keeps the text of all that it has loaded: without comments and white space it is half as much. Names stay, for stack traces.
  minifySyntax: true,
  minifyWhitespace: true,
  splitting: true,
};
const plugins = [builtinsByRequire(), withoutLanguages(), inlineOnly(inlined, ['@azure/storage-blob', 'mqtt'])];
await build({
  ...programs,
  entryPoints: {
    main: 'cloud/main.ts',
    agent: 'agent/main.ts',
    light: 'agent/light/main.ts',
    'service-host': 'cloud/deploy/local/host/main.ts',
    simulators: 'simulators/main.ts',
    quickstart: 'simulators/quickstart/main.ts',
  },
  plugins,
  chunkNames: 'chunk-[hash]',
});
// What is called most has a program of its own: some files are found and read sooner than sixty that serve every command.
for (const noun of quickNouns) {
  await build({
    ...programs,
    entryPoints: { [`main-${noun}`]: 'cloud/main.ts' },
    plugins: [onlyNoun(noun), ...plugins],
    chunkNames: `${noun}-[hash]`,
  });
}
// The scoring server stands alone in an image: all is bundled but the packages with native code.
const { metafile } = await build({
  ...common,
  metafile: true,
  entryPoints: { scoring: 'agent/scoring/main.ts' },
  external: ['onnxruntime-node', 'better-sqlite3'],
  // What it loads late is in modules of its own, by whose names an image's builder finds them.
  splitting: true,
  chunkNames: 'scoring-[hash]',
  banner,
  plugins: [builtinsByRequire()],
});
// What an image's bill of materials lists of it.
const packages = packagesOf(Object.keys(metafile.inputs).map((path) => `${root}${path}`));
await writeFile(`${dist}/scoring.components.json`, JSON.stringify(packages.map(npmComponent)));
await writeLauncher();
await bringRuntime();
await cp(`${root}simulators/hub/iothub-redirect.cjs`, `${dist}/iothub-redirect.cjs`);
await cp(`${root}simulators/quickstart/digits`, `${dist}/digits`, { recursive: true });

/** Leaves out all commands but one noun's. */
function onlyNoun(noun: string): Plugin {
  return {
    name: 'only-noun',
    setup(build) {
      build.onResolve({ filter: /^\.\/commands\/[a-z]+\.ts$/ }, ({ path, importer }) =>
        importer.endsWith('/cloud/main.ts') && path !== `./commands/${noun}.ts` ? { path, external: true } : undefined,
      );
    },
  };
}

/** Leaves out zod's messages in fifty languages. */
function withoutLanguages(): Plugin {
  return {
    name: 'without-languages',
    setup(build) {
      build.onLoad({ filter: /[/\\]zod[/\\]v4[/\\]locales[/\\]index\.js$/ }, ({ path }) => ({
        contents: "export { default as en } from './en.js';",
        resolveDir: dirname(path),
      }));
    },
  };
}

/**
 * Leaves packages where they are installed but for the ones that are named: as some files instead of 120 these come in half the
 * time. Packages that are named as left stay outside even where a package that goes in loads them.
 */
function inlineOnly(names: readonly string[], left: readonly string[]): Plugin {
  return {
    name: 'inline-only',
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, ({ path, importer }) => {
        if (left.includes(path)) return { path, external: true };
        const isOurs = !importer.includes('/node_modules/');
        return isOurs && importer !== '' && !names.includes(path) ? { path, external: true } : undefined;
      });
    },
  };
}

/**
 * The package brings ONNX Runtime along, for the CPU alone: as a dependency its install script would fetch CUDA onto every
 * user's machine, or fail where there is no network.
 */
async function bringRuntime(): Promise<void> {
  const modules = `${root}node_modules`;
  const platforms = ['darwin/arm64', 'linux/arm64', 'linux/x64'];
  for (const name of ['onnxruntime-node', 'onnxruntime-common']) {
    await cp(`${modules}/${name}/dist`, `${dist}/node_modules/${name}/dist`, {
      recursive: true,
      filter: (path) => !/\.(map|d\.ts)$/.test(path),
    });
    await cp(`${modules}/${name}/README.md`, `${dist}/node_modules/${name}/README.md`);
    const { scripts: _none, dependencies: _not, ...description } = await readPackage(`${modules}/${name}`);
    await writeFile(`${dist}/node_modules/${name}/package.json`, JSON.stringify(description, undefined, 2));
  }
  for (const platform of platforms) {
    const binaries = `onnxruntime-node/bin/napi-v6/${platform}`;
    await cp(`${modules}/${binaries}`, `${dist}/node_modules/${binaries}`, { recursive: true });
  }
}

/** `ferry` itself looks at Node's version before it loads what an older one cannot even parse. */
async function writeLauncher(): Promise<void> {
  const { engines } = (await readPackage(root)) as { engines: { node: string } };
  const wanted = engines.node.replace('>=', '');
  const launcher = `#!/usr/bin/env node
import module from 'node:module';
const wanted = '${wanted}'.split('.').map(Number);
const found = process.versions.node.split('.').map(Number);
const at = wanted.findIndex((number, index) => found[index] !== number);
if (at >= 0 && found[at] < wanted[at]) {
  console.error('error NODE_TOO_OLD: Cannot run ferry on Node ' + process.versions.node + ': Node ${wanted} or later was wanted');
  process.exitCode = 1;
} else {
  // Halves the start of a command from the second time on.
  module.enableCompileCache();
  const quick = ${JSON.stringify(quickNouns)}.find((noun) => noun === process.argv[2]);
  await import(quick === undefined ? './main.mjs' : './main-' + quick + '.mjs');
}
`;
  await writeFile(`${dist}/ferry.mjs`, launcher);
  await chmod(`${dist}/ferry.mjs`, 0o755);
}

async function readPackage(folder: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(`${folder}/package.json`, 'utf8')) as Record<string, unknown>;
}
