import { chmod, link, lstat, mkdir, readlink, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type LayerPlaces, LayerPlacesNotes } from './layer-places.ts';

/**
 * Takes the leading layers of an unpacked image over into an empty folder: files get a second name there, nothing is copied. Whoever
 * replaces a file of one folder leaves that of the other alone; who writes into it changes both.
 * @returns notes of what is there now
 * @throws what the system does, after which the folder holds a part of the layers
 */
export async function linkLayers(
  from: { readonly folder: string; readonly places: LayerPlaces },
  options: { readonly count: number; readonly to: string },
): Promise<LayerPlacesNotes> {
  const { count, to } = options;
  const notes = new LayerPlacesNotes();
  const modeBits = 0o7777;
  for (const [layer, digest] of from.places.layers.slice(0, count).entries()) {
    notes.begin(digest);
    for (const [place, what] of from.places.places[layer] ?? []) {
      await take(place);
      notes.placed(place, what);
    }
  }
  return notes;

  async function take(place: string): Promise<void> {
    const [there, here] = [join(from.folder, place), join(to, place)];
    const status = await lstat(there);
    await mkdir(dirname(here), { recursive: true, mode: 0o755 });
    if (status.isDirectory()) {
      await mkdir(here, { recursive: true });
      await chmod(here, status.mode & modeBits);
    } else if (status.isSymbolicLink()) await symlink(await readlink(there), here);
    else await link(there, here);
  }
}
