import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Random } from '../../random.ts';
import type { DiskEvent } from './disk-trace.ts';

/** A disk promises no more than that a sector is written whole or not at all. */
const sectorBytes = 512;

type Change = Extract<DiskEvent, { kind: 'write' | 'truncate' }>;

/** A file's content: what is on the disk for certain, and what was changed since. */
class Inode {
  durable: Buffer = Buffer.alloc(0);
  pending: Change[] = [];

  sync(): void {
    this.durable = this.pending.reduce(changed, this.durable);
    this.pending = [];
  }
}

/** What a process may find after a crash: of a killed process everything is there, of a power cut any part of what was not synced. */
export class DiskImage {
  readonly #folder: string;
  /** Names in the folder that are on the disk for certain, and the changes since. */
  readonly #durableNames = new Map<string, Inode>();
  #pendingNames: { readonly path: string; readonly inode: Inode | undefined }[] = [];
  readonly #names = new Map<string, Inode>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Does what the program did. */
  apply(event: DiskEvent): void {
    if (event.kind === 'said') return;
    if (event.kind === 'create') {
      if (!this.#names.has(event.path)) this.#name(event.path, new Inode());
      return;
    }
    if (event.kind === 'unlink') {
      this.#name(event.path, undefined);
      return;
    }
    if (event.kind === 'sync' && event.path === this.#folder) this.#syncNames();
    else {
      const inode = this.#names.get(event.path);
      if (inode === undefined) throw new Error(`"${event.path}" was changed and never made`);
      if (event.kind === 'sync') inode.sync();
      else inode.pending.push(event);
    }
  }

  /** Writes what a killed process leaves: the kernel has all that it was told. */
  async afterKill(folder: string): Promise<void> {
    await writeFiles(
      folder,
      [...this.#names].map(([path, inode]) => [path, inode.pending.reduce(changed, inode.durable)]),
    );
  }

  /** Writes what a power cut may leave: of what was not synced any sectors, and of the folder's changes the first few. */
  async afterPowerCut(folder: string, random: Random): Promise<void> {
    const names = new Map(this.#durableNames);
    for (const { path, inode } of this.#pendingNames.slice(0, random.below(this.#pendingNames.length + 1))) {
      if (inode === undefined) names.delete(path);
      else names.set(path, inode);
    }
    const files = [...names].map(([path, { durable, pending }]) => {
      const kept = pending.flatMap((change) => torn(change, random));
      return [path, kept.reduce(changed, durable)] as const;
    });
    await writeFiles(folder, files);
  }

  #name(path: string, inode: Inode | undefined): void {
    this.#pendingNames.push({ path, inode });
    if (inode === undefined) this.#names.delete(path);
    else this.#names.set(path, inode);
  }

  #syncNames(): void {
    this.#durableNames.clear();
    for (const [path, inode] of this.#names) this.#durableNames.set(path, inode);
    this.#pendingNames = [];
  }
}

/** Keeps a change, loses it, or keeps some of its sectors. */
function torn(change: Change, random: Random): Change[] {
  const fate = random.below(3);
  if (fate === 0) return [];
  if (fate === 1 || change.kind === 'truncate') return [change];
  const parts: Change[] = [];
  for (let from = 0; from < change.bytes.length; from += sectorBytes) {
    if (random.oneIn(2)) continue;
    parts.push({ ...change, at: change.at + from, bytes: change.bytes.subarray(from, from + sectorBytes) });
  }
  return parts;
}

function changed(content: Buffer, change: Change): Buffer {
  if (change.kind === 'truncate') {
    const cut = Buffer.alloc(change.length);
    content.copy(cut);
    return cut;
  }
  const { at, bytes } = change;
  const grown = Buffer.alloc(Math.max(content.length, at + bytes.length));
  content.copy(grown);
  bytes.copy(grown, at);
  return grown;
}

async function writeFiles(folder: string, files: readonly (readonly [string, Buffer])[]): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const [path, content] of files) await writeFile(join(folder, basename(path)), content);
}
