import { randomUUID } from 'node:crypto';
import type { Tensor } from './tensor.ts';

/** A binary value beside the rows, such as an image that was scored. */
export interface CollectedPayload {
  /** Name of the column. */
  readonly name: string;
  /** MIME type, kept as it is. */
  readonly contentType: string;
  readonly content: Uint8Array;
}

/** A payload that becomes a blob of its own. */
export interface Payload {
  readonly correlationId: string;
  /** Path from the folder of the file that points to it: `payloads/<id>`. */
  readonly file: string;
  readonly contentType: string;
  readonly content: Uint8Array;
}

/** A larger payload is a blob of its own: Azure ML v2's figure. */
const inlineBytesMax = 256 * 1024;

/**
 * Makes a column of a payload: a `data:` URL (RFC 2397) that holds it, or where it is large the path to the blob that does.
 */
export function payloadColumn(
  { name, contentType, content }: CollectedPayload,
  correlationId: string,
): { readonly column: Tensor; readonly payload: Payload | undefined } {
  const inline = content.byteLength <= inlineBytesMax;
  const file = `payloads/${randomUUID()}`;
  const text = inline ? `data:${contentType};base64,${Buffer.from(content).toString('base64')}` : file;
  return {
    column: { name, type: 'string', shape: [1], data: [text] },
    payload: inline ? undefined : { correlationId, file, contentType, content: Uint8Array.from(content) },
  };
}
