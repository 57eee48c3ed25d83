/** What rows are, by Azure ML's words for it. */
export const designations = ['inputs', 'predictions', 'labels', 'signals'] as const;

/** What rows are, by Azure ML's words for it. */
export type Designation = (typeof designations)[number];

/** The longest correlation id that is taken, in characters: Azure ML's own are a user's id and a UUID. */
export const correlationIdLengthMax = 200;

/** What rows belong to: all of them share a folder of the blob path and one run of sequence numbers. */
export interface StreamIdentity {
  /** `<subscription>/<resource group>/<workspace>`. */
  readonly workspace: string;
  readonly service: string;
  readonly model: string;
  readonly version: number;
  readonly designation: Designation;
}

/** Gives the text that two identities share only when they are the same. */
export function streamKey(identity: StreamIdentity): string {
  const { workspace, service, model, version, designation } = identity;
  return JSON.stringify([workspace, service, model, version, designation]);
}
