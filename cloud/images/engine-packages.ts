import { existsSync, globSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { FerryError } from '../../shared/errors.ts';
import { readPackage } from './npm-packages.ts';
import type { ImagePlatform } from './platform.ts';
import { type Component, npmComponent } from './sbom.ts';

/** A package that the scoring server loads at run time because it holds native code, and what of it an image needs. */
interface EnginePackage {
  readonly name: string;
  readonly files: (platform: ImagePlatform) => readonly string[];
}

const enginePackages: readonly EnginePackage[] = [
  {
    name: 'onnxruntime-node',
    // Its own dependencies (adm-zip, global-agent) belong to its install script, which is never run.
    files: ({ os, nodeArchitecture }) => {
      const binaries = `bin/napi-v6/${os}/${nodeArchitecture}`;
      return ['package.json', 'dist/*.js', `${binaries}/onnxruntime_binding.node`, `${binaries}/libonnxruntime.so.*`];
    },
  },
  { name: 'onnxruntime-common', files: () => ['package.json', 'dist/cjs/package.json', 'dist/cjs/*.js'] },
  {
    name: 'better-sqlite3',
    files: ({ os, nodeArchitecture }) => [
      'package.json',
      'LICENSE',
      'lib/{binding,database,index,sqlite-error,util}.js',
      'lib/methods/*.js',
      `prebuilds/${os}-${nodeArchitecture}.node`,
    ],
  },
];

/** Names of the packages that are not bundled into the scoring server but lie beside it. */
export const enginePackageNames: readonly string[] = enginePackages.map(({ name }) => name);

/** A file of a package: where it is on this machine, and its place under `node_modules/`. */
export interface EngineFile {
  readonly file: string;
  readonly place: string;
}

/**
 * Finds the files of the native packages that an image for the platform needs, on the CPU alone.
 * @throws {FerryError} PLATFORM_UNSUPPORTED when an installed package has no binaries for the platform
 */
export function findEngineFiles(platform: ImagePlatform): readonly EngineFile[] {
  return enginePackages.flatMap(({ name, files }) => {
    const folder = packageFolder(name);
    return files(platform).flatMap((pattern) => {
      const found = globSync(pattern, { cwd: folder });
      if (found.length === 0) {
        throw new FerryError(
          'PLATFORM_UNSUPPORTED',
          `Cannot build an image for "${platform.os}/${platform.architecture}": the package "${name}" in "${folder}" has no "${pattern}"`,
          { next: 'Install the packages anew with `npm ci`.' },
        );
      }
      return found.map((path) => ({ file: join(folder, path), place: `${name}/${path}` }));
    });
  });
}

/** Describes the native packages as components. */
export function engineComponents(): readonly Component[] {
  return enginePackageNames.map((name) => npmComponent(readPackage(packageFolder(name))));
}

function packageFolder(name: string): string {
  const places = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const folder = places.map((place) => join(place, name)).find((place) => existsSync(join(place, 'package.json')));
  if (folder === undefined) throw new Error(`The package "${name}" is not installed`);
  return folder;
}
