import { chmod, chown, mkdir, rm, writeFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { containerAccount, isRoot } from '../../../shared/containers/process/account.ts';
import { dataMountPoint } from '../../../shared/containers/engine.ts';
import type { InitContainerDefinition, VolumeDefinition } from './definition.ts';

/** How a container sees the folders that it mounts. */
export interface Mounts {
  /** As Docker is told: `host folder:path in the container`, with `:ro` where it may not be written to. */
  readonly binds: readonly string[];
  /** The container's own data folder on this machine. */
  readonly dataFolder: string;
  /** Without walls between a process and the machine, a path of a mount is the folder itself: puts that into a text. */
  readonly translate: (text: string) => string;
}

/** The volumes of one container group, as folders of this machine. */
export class Volumes {
  readonly #folder: string;

  /** @param folder of the group's own */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes them, secrets with their values; what was in an `emptyDir` stays over a restart of the group. */
  async make(volumes: readonly VolumeDefinition[]): Promise<void> {
    // Nobody else on this machine passes: what is below is open to whatever user a container runs as.
    await mkdir(this.#folder, { recursive: true });
    await chmod(this.#folder, 0o700);
    if (isRoot()) await chown(this.#folder, containerAccount.uid, containerAccount.gid);
    for (const { name, secret } of volumes) {
      const folder = this.#of(name);
      if (secret == null) {
        await mkdir(folder, { recursive: true });
        await chmod(folder, 0o777);
        continue;
      }
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder);
      for (const [file, value] of Object.entries(secret)) {
        await writeFile(join(folder, file), Buffer.from(value, 'base64'), { mode: 0o444 });
      }
    }
  }

  /** Says how a container sees them. */
  async mountsOf({ name, properties }: InitContainerDefinition, volumes: readonly VolumeDefinition[]): Promise<Mounts> {
    const mounts = (properties.volumeMounts ?? []).map((mount) => ({
      path: posix.normalize(mount.mountPath).replace(/\/$/, ''),
      folder: this.#of(mount.name),
      isReadOnly: mount.readOnly === true || volumes.find((one) => one.name === mount.name)?.secret != null,
    }));
    // The engine has a data folder of its own for every container, at a path that may be mounted too.
    const data = mounts.find(({ path }) => path === dataMountPoint);
    const dataFolder = data?.folder ?? join(this.#folder, `data-${name}`);
    await mkdir(dataFolder, { recursive: true });
    const longestFirst = mounts.toSorted((a, b) => b.path.length - a.path.length);
    return {
      dataFolder,
      binds: mounts
        .filter((mount) => mount !== data)
        .map(({ path, folder, isReadOnly }) => `${folder}:${path}${isReadOnly ? ':ro' : ''}`),
      translate: (text) => {
        const mount = longestFirst.find(({ path }) => text === path || text.startsWith(`${path}/`));
        return mount === undefined ? text : mount.folder + text.slice(mount.path.length);
      },
    };
  }

  /** Removes them with all that is in them. */
  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  #of(volume: string): string {
    return join(this.#folder, `volume-${volume}`);
  }
}
