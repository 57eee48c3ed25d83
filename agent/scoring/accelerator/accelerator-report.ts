import * as z from 'zod';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import { datatypeOf } from '../protocol/infer-datatype.ts';

/** What is known of the accelerator that a model runs on. */
export interface AcceleratorReport {
  /** Whether it takes requests, and runs as much of the model as it has to. */
  readonly ready: boolean;
  /** Why it is not ready. */
  readonly reason?: string;
  /** What the runtime said last; nothing where it is away. */
  readonly placement?: AcceleratorPlacement;
}

const fallbackSchema = z.looseObject({
  name: z.string(),
  op_type: z.string().optional(),
  reason: z.string().optional(),
});

const placementSchema = z.looseObject({
  accelerator: z.string().optional(),
  simulated: z.boolean().default(false),
  nodes: z.int().nonnegative().optional(),
  accelerated_nodes: z.int().nonnegative().optional(),
  accelerated_share: z.number().min(0).max(1).optional(),
  fallback_nodes: z.array(fallbackSchema).max(100_000).optional(),
});

/** How much of a model the accelerator runs, in the runtime's words: `parameters` of the model's metadata. */
export type AcceleratorPlacement = z.infer<typeof placementSchema>;

/** What the Open Inference Protocol says of a model, as far as it is needed. */
const metadataSchema = z.looseObject({
  inputs: z.array(z.looseObject({ name: z.string(), datatype: z.string() })).optional(),
  outputs: z.array(z.looseObject({ name: z.string(), datatype: z.string() })).optional(),
  parameters: placementSchema.optional(),
});

/**
 * Judges what a runtime says of a model.
 * @param shareMin of the nodes that have to run on the accelerator; where one is wanted, a runtime that tells none is not ready
 */
export function judgeAccelerator(
  metadata: unknown,
  { signature }: Pick<ServiceModel, 'signature'>,
  shareMin: number,
): AcceleratorReport {
  const parsed = metadataSchema.safeParse(metadata);
  if (!parsed.success)
    return { ready: false, reason: `what it says of the model cannot be read: ${z.prettifyError(parsed.error)}` };
  const { inputs, outputs, parameters: placement } = parsed.data;
  const known = placement === undefined ? {} : { placement };
  for (const [role, own, theirs] of [
    ['input', signature.inputs, inputs],
    ['output', signature.outputs, outputs],
  ] as const) {
    const other = own.find(
      ({ name, type }) =>
        theirs !== undefined && !theirs.some((tensor) => tensor.name === name && tensor.datatype === datatypeOf(type)),
    );
    if (other === undefined) continue;
    const reason = `its model has no ${role} "${other.name}" of ${datatypeOf(other.type)}: it is another model`;
    return { ...known, ready: false, reason };
  }
  if (shareMin === 0) return { ...known, ready: true };
  const share = shareOf(placement);
  if (share === undefined) {
    return { ...known, ready: false, reason: `it does not say how much it runs, at least ${shareMin} was wanted` };
  }
  if (share >= shareMin) return { ...known, ready: true };
  return { ...known, ready: false, reason: `it runs ${share} of the nodes, at least ${shareMin} was wanted` };
}

/** Gives the share of the nodes that run on the accelerator, 0 to 1, where the runtime says so. */
export function shareOf(placement: AcceleratorPlacement | undefined): number | undefined {
  const { accelerated_share: share, accelerated_nodes: accelerated, nodes } = placement ?? {};
  if (share !== undefined) return share;
  return accelerated === undefined || nodes === undefined || nodes === 0 ? undefined : accelerated / nodes;
}
