import type { StateFile } from '../state-file.ts';

/** Gives a file in memory: what a light device keeps over a power cut. */
export function memoryFile(): StateFile {
  let held: string | undefined;
  return {
    read: async () => {
      if (held === undefined) throw new Error('There is no such file');
      return held;
    },
    write: async (text) => {
      held = text;
    },
  };
}
