import { isDigest } from '../shared/digest.ts';
import type { ImageSample } from '../shared/model/service-config.ts';
import type { LayoutStore } from '../shared/oci/layout-store.ts';
import { askProof } from './ask-proof.ts';
import { readImageSample } from './images/image-sample.ts';
import type { AskProof } from './probation.ts';

/** Gives what asks modules for proof, by the samples in the images that they are made from. */
export function provingBySample(layout: LayoutStore): AskProof {
  let last: { readonly image: string; readonly sample: ImageSample | undefined } | undefined;
  const sampleOf = async (image: string): Promise<ImageSample | undefined> => {
    // A module on probation is asked again and again, and an image never changes.
    if (last?.image === image) return last.sample;
    // An image that cannot be read has run already: it is proven by what can be asked.
    const sample = isDigest(image) ? await readImageSample(layout, image).catch(() => undefined) : undefined;
    last = { image, sample };
    return sample;
  };
  return async (spec, { imageDigest = '' }, signal) => askProof(spec, await sampleOf(imageDigest), signal);
}
