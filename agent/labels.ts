import { type CreateOptions, parseCreateOptions } from '../shared/edge/create-options.ts';
import type { ModuleSpec } from './module-spec.ts';

/** Label that holds the fingerprint of the specification that a container was made from. */
export const fingerprintLabel = 'modelferry.fingerprint';
/** Label that holds the digest of a container's image. */
export const imageDigestLabel = 'modelferry.image-digest';

/** Label that holds why a module took its place without a rehearsal. */
const unprovenLabel = 'modelferry.unproven';
/** Longest such reason, in characters: a mounted folder's name may be in it. */
const unprovenLengthMax = 200;

/** Label that holds the port of this machine on which a rehearsal is asked. */
const rehearsalPortLabel = 'modelferry.rehearsal-port';

// The labels of Microsoft's runtime, by which its tools find modules.
const edgeOwnerLabel = 'net.azure-devices.edge.owner';
const createOptionsLabel = 'net.azure-devices.edge.create-options';
const environmentLabel = 'net.azure-devices.edge.env';
const imageLabel = 'net.azure-devices.edge.original-image';

/** What a module's container was made from, read off its labels. */
export interface MadeFrom {
  readonly image: string;
  readonly imageDigest: string;
  readonly createOptions: CreateOptions;
  readonly environment: Readonly<Record<string, string>>;
}

/** Gives the labels of a module's container. @param unproven why it takes its place without a rehearsal */
export function labelsOf(spec: ModuleSpec, imageDigest: string, unproven?: string): Record<string, string> {
  return {
    [edgeOwnerLabel]: 'Microsoft.Azure.Devices.Edge.Agent',
    [createOptionsLabel]: JSON.stringify(spec.createOptions),
    [environmentLabel]: JSON.stringify(spec.environment),
    [imageLabel]: spec.image,
    [fingerprintLabel]: spec.fingerprint,
    [imageDigestLabel]: imageDigest,
    ...(unproven === undefined ? {} : { [unprovenLabel]: unproven.slice(0, unprovenLengthMax) }),
  };
}

/** Reads off a container's labels why it took its place without a rehearsal; nothing when it did not. */
export function unprovenBecause(labels: Readonly<Record<string, string>>): string | undefined {
  return labels[unprovenLabel];
}

/** What was read off labels before, as long as there are the labels. */
const readBefore = new WeakMap<Readonly<Record<string, string>>, MadeFrom>();

/** Reads off a container's labels what it was made from. */
export function madeFrom(labels: Readonly<Record<string, string>>): MadeFrom {
  const made = readBefore.get(labels) ?? readMadeFrom(labels);
  readBefore.set(labels, made);
  return made;
}

function readMadeFrom(labels: Readonly<Record<string, string>>): MadeFrom {
  return {
    image: labels[imageLabel] ?? '',
    imageDigest: labels[imageDigestLabel] ?? '',
    createOptions: parseCreateOptions({ createOptions: labels[createOptionsLabel] ?? '' }),
    environment: JSON.parse(labels[environmentLabel] ?? '{}') as Record<string, string>,
  };
}

/** Gives the labels of the container in which a module rehearses. */
export function rehearsalLabels(spec: ModuleSpec, imageDigest: string, port: number): Record<string, string> {
  return { ...labelsOf(spec, imageDigest), [rehearsalPortLabel]: String(port) };
}

/** Reads off a container's labels on which port of this machine it is asked as it rehearses. */
export function rehearsalPort(labels: Readonly<Record<string, string>>): number {
  return Number(labels[rehearsalPortLabel] ?? 0);
}
