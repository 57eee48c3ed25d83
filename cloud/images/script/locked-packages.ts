import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { z } from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import { nativeFileOf, type NpmPackage, packagesOf } from '../npm-packages.ts';
import { type Component, npmComponent } from '../sbom.ts';
import type { ScriptBundle } from './bundle-script.ts';

/** The npm packages in a bundle. */
export interface LockedPackages {
  readonly components: readonly Component[];
  /** Said where no lock file holds the versions. */
  readonly warnings: readonly string[];
}

// https://docs.npmjs.com/cli/configuring-npm/package-lock-json, "packages"; since version 2 of the file.
const lockSchema = z.looseObject({
  packages: z.record(
    z.string(),
    z.looseObject({ version: z.string().optional(), integrity: z.string().optional(), link: z.boolean().optional() }),
  ),
});

/**
 * Gives the npm packages in a bundle with the integrity that the nearest `package-lock.json` upwards has of each.
 * @throws {FerryError} SCRIPT_INVALID when a package holds native code, or is not of the version that is locked
 */
export function lockedPackages({ script, folder, inputs }: ScriptBundle): LockedPackages {
  const packages = packagesOf(inputs);
  refuse(
    script,
    packages.flatMap((found) => {
      const native = nativeFileOf(found);
      return native === undefined ? [] : [`the package "${found.name}" holds native code ("${native}")`];
    }),
    'packages of JavaScript alone were wanted',
    'Run models with `models.<name>.run()` of the script; leave other native packages out.',
  );
  if (packages.length === 0) return { components: [], warnings: [] };
  const lock = findLock(folder);
  if (lock === undefined) {
    const names = packages.map(({ name, version }) => `${name}@${version}`).join(', ');
    return {
      components: packages.map(npmComponent),
      warnings: [`${script}: no package-lock.json holds the versions of ${names}: those installed here are taken`],
    };
  }
  const problems: string[] = [];
  const components = packages.map((found) => {
    const locked = lock.packages[relative(lock.folder, found.folder)];
    if (locked?.version !== found.version) problems.push(mismatch(found, locked?.version));
    return npmComponent({ ...found, ...(locked?.integrity !== undefined && { integrity: locked.integrity }) });
  });
  refuse(
    script,
    problems,
    `the versions of "${relative(process.cwd(), lock.path)}" were wanted`,
    'Run `npm ci` there.',
  );
  return { components, warnings: [] };
}

function mismatch({ name, version }: NpmPackage, locked: string | undefined): string {
  return `the package "${name}" is installed in version ${version} and ${locked === undefined ? 'not locked' : `locked in version ${locked}`}`;
}

interface Lock {
  readonly path: string;
  readonly folder: string;
  readonly packages: z.infer<typeof lockSchema>['packages'];
}

function findLock(from: string): Lock | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const path = join(folder, 'package-lock.json');
    if (existsSync(path)) return readLock(path, folder);
    if (dirname(folder) === folder) return undefined;
  }
}

function readLock(path: string, folder: string): Lock {
  try {
    return { path, folder, ...lockSchema.parse(JSON.parse(readFileSync(path, 'utf8'))) };
  } catch (cause) {
    throw new FerryError('SCRIPT_INVALID', `Cannot read "${path}": it is no lock file of npm 7 or later`, { cause });
  }
}

function refuse(script: string, problems: readonly string[], wanted: string, next: string): void {
  if (problems.length === 0) return;
  throw new FerryError('SCRIPT_INVALID', `Cannot bundle the script "${script}": ${problems.join('; ')}; ${wanted}`, {
    next,
  });
}
