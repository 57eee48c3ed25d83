import { chmod, chown, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Account, isRoot } from '../../../shared/containers/process/account.ts';
import type { Container, Pod } from '../objects.ts';
import type { Store } from '../store.ts';
import { configData, podField, secretData } from './environment.ts';

/** A folder or file of this machine that a container finds at a path. */
export interface Mount {
  readonly source: string;
  readonly path: string;
  readonly isReadOnly: boolean;
}

/** What of a volume is a file, and how it is called. */
interface Item {
  readonly key: string;
  readonly path: string;
}

/**
 * Makes a pod's volumes in a folder, or brings those up to date that are there: secrets and config maps as files, empty folders.
 * @throws {ConfigError} when a secret or config map is not there and is not optional
 */
export async function writeVolumes(
  store: Store,
  pod: Pod,
  options: { folder: string; owner: Account; podIp: string },
): Promise<void> {
  const { folder, owner, podIp } = options;
  const { namespace = '' } = pod.metadata;
  for (const volume of pod.spec.volumes ?? []) {
    const target = join(folder, volume.name);
    await mkdir(target, { recursive: true });
    await give(target, owner, 0o750);
    const { secret, configMap, downwardAPI } = volume;
    const sources = [
      ...(secret === undefined ? [] : [{ secret: { ...secret, name: secret.secretName ?? '' } }]),
      ...(configMap === undefined ? [] : [{ configMap }]),
      ...(downwardAPI === undefined ? [] : [{ downwardAPI }]),
      ...(volume.projected?.sources ?? []),
    ];
    const files = new Map<string, Buffer>();
    for (const source of sources) {
      const { secret, configMap, downwardAPI } = source;
      if (secret !== undefined) {
        pick(files, secretData(store, namespace, secret.name ?? '', secret.optional), secret.items);
      }
      if (configMap !== undefined) {
        pick(files, configData(store, namespace, configMap.name ?? '', configMap.optional), configMap.items);
      }
      for (const { path, fieldRef } of downwardAPI?.items ?? []) {
        files.set(path, Buffer.from(podField(pod, fieldRef?.fieldPath ?? '', podIp)));
      }
    }
    for (const [path, bytes] of files) await writeWhole(join(target, path), bytes, owner);
  }
}

function pick(
  files: Map<string, Buffer>,
  data: Readonly<Record<string, Buffer>> | undefined,
  items?: readonly Item[],
): void {
  for (const [key, bytes] of Object.entries(data ?? {})) {
    const path = items === undefined ? key : items.find((item) => item.key === key)?.path;
    if (path !== undefined && !path.split('/').includes('..')) files.set(path, bytes);
  }
}

/** Nobody reads half a file: who watches it sees the old one or the new one, and nothing where they are the same. */
async function writeWhole(path: string, bytes: Buffer, owner: Account): Promise<void> {
  if ((await readFile(path).catch(() => undefined))?.equals(bytes) === true) return;
  await mkdir(dirname(path), { recursive: true });
  const aside = `${path}.new`;
  await writeFile(aside, bytes, { mode: 0o400 });
  await give(aside, owner, 0o440);
  await rename(aside, path);
}

/** Without root's rights everything is this user's, and so are the containers. */
async function give(path: string, { uid, gid }: Account, mode: number): Promise<void> {
  if (isRoot()) await chown(path, uid, gid);
  await chmod(path, mode);
}

/** Where a container finds its volumes. */
export function mountsOf(container: Container, folder: string): Mount[] {
  return (container.volumeMounts ?? []).map(({ name, mountPath, subPath, readOnly }) => ({
    source: join(folder, name, subPath ?? ''),
    path: mountPath,
    isReadOnly: readOnly === true,
  }));
}

/** Removes a pod's volumes. */
export async function removeVolumes(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
