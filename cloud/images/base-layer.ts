import { realpathSync, statSync } from 'node:fs';
import type { LayerEntry } from '../../shared/oci/tar-layer.ts';
import { findEngineFiles } from './engine-packages.ts';
import type { LayerContent } from './layer-cache.ts';
import { type ImagePlatform, platformText } from './platform.ts';
import { findSharedLibraries } from './shared-libraries.ts';
import { FerryError } from '../../shared/errors.ts';

/** Where Node is in every image. */
export const nodePath = '/usr/local/bin/node';

/** User and group that the scoring server runs as; above the ids that distributions give to their own services. */
export const imageUser = { id: 10_001, group: 10_001 } as const;

const passwd = `root:x:0:0:root:/root:/sbin/nologin
modelferry:x:${imageUser.id}:${imageUser.group}:modelferry:/tmp:/sbin/nologin
`;
const group = `root:x:0:
modelferry:x:${imageUser.group}:
`;
/** Without it glibc asks the name server before it looks into /etc/hosts. */
const nameServices = 'passwd: files\ngroup: files\nhosts: files dns\n';

/** What can change the answer of `ldd` without changing a file that it named. */
const loaderCache = '/etc/ld.so.cache';

/**
 * Makes the base of an image from this machine: its Node binary and the shared libraries that Node and the engine need, at the paths
 * where the loader looks for them, and the few files that a C library expects. Nothing else: no shell, no package manager.
 * @throws {FerryError} PLATFORM_UNSUPPORTED when this machine is not of the platform
 */
export async function hostBase(platform: ImagePlatform, signal?: AbortSignal): Promise<LayerContent> {
  if (process.platform !== platform.os || process.arch !== platform.nodeArchitecture) {
    throw new FerryError(
      'PLATFORM_UNSUPPORTED',
      `Cannot build a base for "${platformText(platform)}" from this machine: it is ${process.platform}/${process.arch}`,
      { next: `Build on a ${platformText(platform)} machine.` },
    );
  }
  const node = realpathSync(process.execPath);
  const addons = findEngineFiles(platform)
    .map(({ file }) => file)
    .filter((file) => /\.(node|so\.[\d.]+)$/.test(file));
  const libraries = await findSharedLibraries([node, ...addons], signal);
  return {
    inputs: [node, ...addons, ...libraries, loaderCache],
    entries: [
      copyOf(node, nodePath),
      ...libraries.map((library) => copyOf(library, library)),
      textFile('/etc/passwd', passwd),
      textFile('/etc/group', group),
      textFile('/etc/nsswitch.conf', nameServices),
      { kind: 'directory', path: '/tmp', mode: 0o1777 },
    ],
  };
}

function copyOf(file: string, path: string): LayerEntry {
  return { kind: 'file', path, mode: 0o755, content: { file, size: statSync(file).size } };
}

function textFile(path: string, text: string): LayerEntry {
  return { kind: 'file', path, content: Buffer.from(text) };
}
