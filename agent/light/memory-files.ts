import { dirname, basename } from 'node:path';
import type { StateFiles } from '../state-files.ts';

/** Gives files in memory: what a light device keeps over a power cut. */
export function memoryFiles(): StateFiles {
  const held = new Map<string, string>();
  return {
    read: async (path) => {
      const text = held.get(path);
      if (text === undefined) throw new Error(`There is no file "${path}"`);
      return text;
    },
    write: async (path, text) => void held.set(path, text),
    list: async (folder) => [...held.keys()].filter((path) => dirname(path) === folder).map((path) => basename(path)),
    remove: async (path) => void held.delete(path),
  };
}
