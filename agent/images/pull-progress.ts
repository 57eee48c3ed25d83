import type { JsonObject } from '../report.ts';
import type { Pull } from './image-store.ts';

/** Steps that progress is reported in, in per cent: each one is a message to the hub. */
const stepPercent = 10;

/** Says for the hub how far pulls are, as seldom as it is worth a message. Pure. */
export function pullProgress(pulls: readonly Pull[]): JsonObject[] {
  return pulls.map(({ image, gotBytes, totalBytes }) => {
    const share = totalBytes === 0 ? 1 : gotBytes / totalBytes;
    // What is got twice after a cut counts twice.
    const steps = Math.min(Math.floor((share * 100) / stepPercent), 100 / stepPercent);
    return { image, percent: steps * stepPercent, totalBytes };
  });
}
