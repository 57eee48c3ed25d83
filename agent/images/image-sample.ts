import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { buffer } from 'node:stream/consumers';
import { readManifest } from '../../shared/containers/image-layout.ts';
import type { Digest } from '../../shared/digest.ts';
import { type ImageSample, serviceConfigPath, serviceConfigSchema } from '../../shared/model/service-config.ts';
import { decompressor } from '../../shared/oci/layer-compression.ts';
import type { LayoutStore } from '../../shared/oci/layout-store.ts';
import type { Descriptor } from '../../shared/oci/descriptor.ts';

/** Largest layer that is looked into, in bytes: what an image serves stands in its topmost layer, which is small. */
const layerBytesMax = 32 * 1024 * 1024;
/** Largest file that says what an image serves, in bytes: signatures, and one sample. */
const configBytesMax = 1024 * 1024;

/** Gives the sample by which an image of the device is proven; nothing for an image without one, or of somebody else. */
export async function readImageSample(layout: LayoutStore, image: Digest): Promise<ImageSample | undefined> {
  const document = await readManifest(layout, image);
  if (document.kind === 'index') return undefined;
  const small = document.manifest.layers.filter(({ size }) => size <= layerBytesMax);
  for (const layer of small.toReversed()) {
    const content = await readFromLayer(layout, layer);
    if (content !== undefined) return sampleOf(content);
  }
  return undefined;
}

async function readFromLayer(layout: LayoutStore, layer: Descriptor): Promise<Buffer | undefined> {
  // Loaded where something is to be proven, and not by an agent that only keeps up what runs.
  const { extract } = await import('tar-stream');
  const tar = extract();
  const source = await layout.openBlob(layer.digest);
  const unpacking = decompressor(layer.mediaType);
  const feeding = unpacking === undefined ? pipeline(source, tar) : pipeline(source, unpacking, tar);
  feeding.catch(() => undefined);
  try {
    for await (const entry of tar) {
      const { name, size = 0 } = entry.header;
      if (`/${name.replace(/^(?:\.?\/)+/, '')}` === serviceConfigPath && size <= configBytesMax) {
        return await buffer(Readable.from(entry));
      }
      entry.resume();
    }
    return undefined;
  } finally {
    tar.destroy();
    await feeding.catch(() => undefined);
  }
}

function sampleOf(content: Buffer): ImageSample | undefined {
  let json: unknown;
  try {
    json = JSON.parse(content.toString());
  } catch {
    return undefined;
  }
  return serviceConfigSchema.safeParse(json).data?.models[0]?.sample;
}
