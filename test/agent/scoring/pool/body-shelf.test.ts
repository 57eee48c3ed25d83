import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { BodyShelf, ShelvedBodies } from '../../../../agent/scoring/pool/body-shelf.ts';

const hasMemory = existsSync('/dev/shm');

/** A shelf with the worker's side of it, in one process. */
function openShelf(): { shelf: BodyShelf; bodies: ShelvedBodies } & Disposable {
  const shelf = BodyShelf.open();
  if (shelf === undefined) throw new Error('There is no shelf');
  return { shelf, bodies: new ShelvedBodies(shelf.fileDescriptor), [Symbol.dispose]: () => shelf.close() };
}

test.skipIf(!hasMemory)('take() gives each body as it was put, with what stands behind its JSON aligned', () => {
  using rig = openShelf();
  const { shelf, bodies } = rig;
  const put = [40_000, 4_000_000, 40_001].map((bytes, id) => ({ bytes, id, content: randomBytes(bytes) }));
  for (const { bytes, id, content } of put) {
    const place = shelf.put(id, content);
    expect(place).toBeDefined();
    const taken = bodies.take({ place: place ?? -1, bytes }, 131);
    expect(Buffer.compare(taken, content)).toBe(0);
    expect((taken.byteOffset + 131) % 64).toBe(0);
  }
});

test.skipIf(!hasMemory)('put() takes no more bodies than there are places, until one is released', () => {
  using rig = openShelf();
  const content = randomBytes(100_000);
  const places = Array.from({ length: 10 }, (_, id) => rig.shelf.put(id, content));
  const taken = places.filter((place) => place !== undefined);
  expect(new Set(taken).size).toBe(taken.length);
  expect(taken.length).toBeLessThan(10);
  rig.shelf.release(2);
  rig.shelf.release(2);
  expect(rig.shelf.put(20, content)).toBe(places[2]);
  expect(rig.shelf.put(21, content)).toBeUndefined();
});

test.skipIf(!hasMemory)(
  'put() leaves small and very large bodies to the pipe, and all of them when it is closed',
  () => {
    using rig = openShelf();
    expect(rig.shelf.put(1, randomBytes(1000))).toBeUndefined();
    expect(rig.shelf.put(2, randomBytes(5_000_000))).toBeUndefined();
    rig.shelf.close();
    expect(rig.shelf.put(3, randomBytes(100_000))).toBeUndefined();
  },
);
