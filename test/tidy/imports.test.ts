import { readFileSync, globSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What each folder may import of the others, as path prefixes; npm packages and `node:` are free for all. */
const allowed = {
  shared: ['shared/'],
  cloud: ['cloud/', 'shared/'],
  agent: ['agent/', 'shared/'],
  // Of shared only what is no vendor fact, so that one wrong constant cannot pass on both sides of the wire.
  simulators: [
    'simulators/',
    'shared/clock.ts',
    'shared/containers/',
    'shared/deadline.ts',
    'shared/digest.ts',
    'shared/durable-file.ts',
    'shared/errors.ts',
    'shared/file-lock.ts',
    'shared/hashed-file.ts',
    'shared/log.ts',
    // What a node pulls images with; the registry, whose other side that is, may not (below).
    'shared/oci/',
    'shared/process-entry.ts',
    'shared/programs.ts',
    'shared/random.ts',
    'shared/tls-trust.ts',
  ],
} as const;

/** What goes into every image must stand alone: of the agent, only scoring and collecting. */
const allowedInScoring = ['agent/scoring/', 'agent/collect/', 'shared/'];

test.each(Object.entries(allowed))('%s imports only what the design allows', (folder, prefixes) => {
  const offences = sourcesOf(folder).flatMap((file) =>
    importsOf(file)
      .filter((target) => !prefixes.some((prefix) => target.startsWith(prefix)))
      .map((target) => `${file} imports ${target}`),
  );
  expect(offences).toEqual([]);
});

test('scoring and collecting import nothing else of the agent', () => {
  const offences = [...sourcesOf('agent/scoring'), ...sourcesOf('agent/collect')].flatMap((file) =>
    importsOf(file)
      .filter((target) => !allowedInScoring.some((prefix) => target.startsWith(prefix)))
      .map((target) => `${file} imports ${target}`),
  );
  expect(offences).toEqual([]);
});

test('the simulated registry shares nothing with the client of registries', () => {
  const offences = sourcesOf('simulators/registry').flatMap((file) =>
    importsOf(file).filter((target) => target.startsWith('shared/oci/')),
  );
  expect(offences).toEqual([]);
});

test('the import rule reads static imports, re-exports and dynamic imports', () => {
  const text =
    "import a from './a.ts';\nexport * from '../b.ts';\nconst c = await import('./c.ts');\nimport type { D } from './d.ts';";
  expect(relativeImports(text)).toEqual(['./a.ts', '../b.ts', './c.ts', './d.ts']);
});

function sourcesOf(folder: string): string[] {
  return globSync(`${folder}/**/*.ts`, { cwd: root });
}

/** Gives the files that a file imports, as paths from the root. */
function importsOf(file: string): string[] {
  return relativeImports(readFileSync(join(root, file), 'utf8')).map((path) => normalize(join(dirname(file), path)));
}

function relativeImports(text: string): string[] {
  const specifiers = text.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*)['"](\.[^'"]+)['"]/g);
  return [...specifiers].map((match) => match[1] ?? '');
}
