import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from './free-port.ts';

/** What containers take of the machine beside the engine's own: folders and ports. */
export interface ModulePlaces {
  /** Makes the folder in which a container finds its data, and gives its path. */
  makeDataFolder(container: string): Promise<string>;
  /** Removes a container's folder with all that is in it. */
  removeFolder(container: string): Promise<void>;
  /** Finds a port that nobody listens on. */
  freePort(): Promise<number>;
}

/** Gives the places on this machine. @param modulesFolder holds a folder for each container */
export function placesOnDisk(modulesFolder: string): ModulePlaces {
  return {
    makeDataFolder: async (container) => {
      const folder = join(modulesFolder, container, 'data');
      await mkdir(folder, { recursive: true });
      return folder;
    },
    removeFolder: (container) => rm(join(modulesFolder, container), { recursive: true, force: true }),
    freePort,
  };
}
