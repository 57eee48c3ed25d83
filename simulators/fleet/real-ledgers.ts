import { z } from 'zod';
import type { Hub } from '../hub/hub.ts';

const count = z.number().nonnegative();

/** What an agent reports of the buffers of its modules, as `properties.reported.collection` of `$edgeAgent` has it. */
const collectionSchema = z.record(
  z.string(),
  z.object({
    streams: z.record(
      z.string(),
      z.object({
        collected: count,
        uploaded: count,
        buffered: count,
        quarantined: count,
        dropped: z.record(z.string(), count).default({}),
      }),
    ),
  }),
);

/** What became of the rows of one device, as it says itself. */
export interface DeviceLedger {
  readonly deviceId: string;
  readonly rows: Readonly<Record<'collected' | 'uploaded' | 'buffered' | 'dropped', number>>;
}

/** Reads off the hub what real agents have reported of what their modules have collected. */
export function realLedgers({ parts }: Pick<Hub, 'parts'>, deviceIds: readonly string[]): DeviceLedger[] {
  return deviceIds.map((deviceId) => {
    const { reported } = parts.registry.module(deviceId, '$edgeAgent').twin;
    const modules = collectionSchema.parse(reported.value['collection'] ?? {});
    const streams = Object.values(modules).flatMap((module) => Object.values(module.streams));
    const sum = (of: (stream: (typeof streams)[number]) => number): number =>
      streams.reduce((all, stream) => all + of(stream), 0);
    return {
      deviceId,
      rows: {
        collected: sum(({ collected }) => collected),
        uploaded: sum(({ uploaded }) => uploaded),
        // What storage refuses is on the device all the same.
        buffered: sum(({ buffered, quarantined }) => buffered + quarantined),
        dropped: sum(({ dropped }) => Object.values(dropped).reduce((all, rows) => all + rows, 0)),
      },
    };
  });
}
