import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import { type RolloutRequest, rolloutRequestSchema } from './rollout-request.ts';
import { type RolloutState, rolloutStateSchema } from './rollout-state.ts';

/** Characters of one label's value, IoT Hub's limit; base64url is within the ones that it allows. */
const labelCharsMax = 128;
/** Labels that one rollout may take: 6 KB of packed text. */
const labelsMax = 48;
const bytesMax = 1_000_000;
const partName = /^rollout-(\d\d)$/;

const contentSchema = z.strictObject({
  formatVersion: z.literal(1),
  request: rolloutRequestSchema,
  state: rolloutStateSchema,
});

/** A rollout as its configuration's labels hold it. */
export interface LabelledRollout {
  readonly request: RolloutRequest;
  readonly state: RolloutState;
}

/**
 * Writes a rollout into labels of its configuration, so that whoever reaches the hub can go on with it. Readable ones for people,
 * packed ones for programs. Where there is no room for all rollouts of before, the oldest are left out.
 * @throws {FerryError} DEPLOYMENT_INVALID when it is too large for labels
 */
export function rolloutLabels({ request, state }: LabelledRollout): Record<string, string> {
  const packed = packedWithin(labelsMax * labelCharsMax, { request, state });
  const parts = packed.match(new RegExp(`.{1,${labelCharsMax}}`, 'g')) ?? [];
  return {
    createdBy: 'modelferry',
    service: request.service,
    phase: state.paused ? `${state.phase},paused` : state.phase,
    stage: `${state.stage + 1}-of-${request.stages.length}`,
    ...Object.fromEntries(parts.map((part, index) => [`rollout-${String(index).padStart(2, '0')}`, part])),
  };
}

function packedWithin(charsMax: number, { request, state }: LabelledRollout): string {
  for (let kept = state.history.length; ; kept -= 1) {
    const history = state.history.slice(0, kept);
    const text = JSON.stringify({ formatVersion: 1, request, state: { ...state, history } });
    const packed = deflateRawSync(text, { level: 9 }).toString('base64url');
    if (packed.length <= charsMax) return packed;
    if (kept > 0) continue;
    throw new FerryError(
      'DEPLOYMENT_INVALID',
      `Cannot roll out: what was asked takes ${packed.length} characters in the hub, ${charsMax} at most was wanted`,
      { next: 'Tell devices apart by a tag instead of naming them.' },
    );
  }
}

/**
 * Reads a rollout back from labels.
 * @returns undefined where there is none
 * @throws {FerryError} DEPLOYMENT_INVALID when there is one that cannot be read
 */
export function readRolloutLabels(id: string, labels: Readonly<Record<string, string>>): LabelledRollout | undefined {
  const parts = Object.entries(labels)
    .filter(([name]) => partName.test(name))
    .toSorted(([left], [right]) => (left < right ? -1 : 1));
  if (parts.length === 0) return undefined;
  try {
    const packed = Buffer.from(parts.map(([, part]) => part).join(''), 'base64url');
    const { request, state } = contentSchema.parse(
      JSON.parse(inflateRawSync(packed, { maxOutputLength: bytesMax }).toString()),
    );
    return { request, state };
  } catch (cause) {
    throw new FerryError(
      'DEPLOYMENT_INVALID',
      `Cannot read the rollout "${id}": the labels of its deployment are damaged, or of another version of ferry`,
      { cause },
    );
  }
}
