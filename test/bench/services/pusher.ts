import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runFerry } from '../../ferry.ts';
import { squareModel } from '../scoring/square-model.ts';

/** 512 × 512 float32: 1 MB. */
const size = 512;

/** Pushes models of 1 MB from a folder with a workspace, as a user does. */
export class Pusher {
  readonly folder: string;
  #model = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Writes the requests that are sent: `rows-1.json` and `rows-32.json`. */
  async writeRows(): Promise<void> {
    for (const rows of [1, 32]) await writeFile(join(this.folder, `rows-${rows}.json`), rowsText(rows));
  }

  /** Pushes a model that was never there, of so many layers. @returns seconds */
  async pushNew(name: string, target: string, settings: readonly string[] = [], layers = 1): Promise<number> {
    const model = squareModel(size, layers);
    // Another weight makes another model.
    new DataView(model.buffer, model.byteOffset).setFloat32(model.byteLength - 4096, (this.#model += 1), true);
    await writeFile(join(this.folder, `${name}.onnx`), model);
    return this.pushAgain(name, target, settings);
  }

  /** Pushes what was pushed before. @returns seconds */
  async pushAgain(name: string, target: string, settings: readonly string[] = []): Promise<number> {
    const startMs = performance.now();
    const sample = ['--sample', 'rows-1.json'];
    await this.ferry(['push', `${name}.onnx`, '--name', name, '--to', target, ...sample, ...settings]);
    return (performance.now() - startMs) / 1000;
  }

  async ferry(args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await runFerry(args, { cwd: this.folder });
    if (code !== 0) throw new Error(`ferry ${args[0]} failed: ${stderr}`);
    return stdout;
  }
}

/** Writes a request of some rows. */
export function rowsText(rows: number): string {
  const row = Array.from({ length: size }, (_, at) => (at % 64) / 64);
  return JSON.stringify({ data: Array.from({ length: rows }, () => row) });
}
