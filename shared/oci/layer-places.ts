import { z } from 'zod';
import type { Digest } from '../digest.ts';
import { digestSchema } from './descriptor.ts';

/** Entries beyond which nothing is noted: finding them again would take longer than unpacking saves. */
const placesMax = 100_000;

/** A path within the folder, which leads out of it in no way. */
const placeSchema = z.string().refine((place) => place !== '' && !place.split('/').some((part) => part === '..'));

export const layerPlacesSchema = z.strictObject({
  /** From the lowest on. */
  layers: z.array(digestSchema),
  /** Numbers of leading layers that cannot be told from what is above them any more: that has replaced or removed something of theirs. */
  broken: z.array(z.int()),
  /** By layer: what it put where, and as what. */
  places: z.array(z.array(z.tuple([placeSchema, z.string()]))),
});

/** Which layers of an unpacked image have put what where: lets another image that begins with the same layers take them over. */
export type LayerPlaces = z.infer<typeof layerPlacesSchema>;

/** Notes where layers put things while they are unpacked one over the other. */
export class LayerPlacesNotes {
  readonly #layers: Digest[] = [];
  readonly #broken = new Set<number>();
  readonly #places = new Map<string, { readonly layer: number; readonly what: string }>();
  #isTooMuch = false;

  begin(layer: Digest): void {
    this.#layers.push(layer);
  }

  /** @param what kind and mode of the entry: the same again changes nothing */
  placed(place: string, what: string): void {
    const layer = this.#layers.length - 1;
    const before = this.#places.get(place);
    if (before?.what === what && what.startsWith('directory')) return;
    if (before !== undefined) this.removed(place);
    this.#isTooMuch ||= this.#places.size >= placesMax;
    if (!this.#isTooMuch) this.#places.set(place, { layer, what });
  }

  removed(place: string): void {
    for (const [path, { layer }] of this.#places) {
      if (path !== place && !path.startsWith(`${place}/`)) continue;
      for (let count = layer + 1; count < this.#layers.length; count += 1) this.#broken.add(count);
      this.#places.delete(path);
    }
  }

  /** Gives what was noted; nothing where that is too much. */
  notes(): LayerPlaces | undefined {
    if (this.#isTooMuch) return undefined;
    const places = this.#layers.map((): [string, string][] => []);
    for (const [place, { layer, what }] of this.#places) places[layer]?.push([place, what]);
    return { layers: this.#layers, broken: [...this.#broken], places };
  }
}

/** Says how many of the layers an image can take over from where they were unpacked before. */
export function sharedLayers({ layers, broken }: LayerPlaces, wanted: readonly Digest[]): number {
  let count = 0;
  while (count < wanted.length && wanted[count] === layers[count]) count += 1;
  while (broken.includes(count)) count -= 1;
  return count;
}
