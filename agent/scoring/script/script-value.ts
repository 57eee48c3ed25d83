import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import type { TensorSpec } from '../../../shared/model/signature.ts';
import { correlationIdLengthMax, designations } from '../../collect/stream.ts';
import { elementCount, isText, type Tensor, type TensorData } from '../../collect/tensor.ts';
import type { Answer } from '../protocol/score-call.ts';
import type { ScriptTensor } from './scoring-script.ts';

const tensorValue = z.object({
  shape: z.array(z.int().nonnegative()),
  data: z.custom<TensorData>(
    (value) => ArrayBuffer.isView(value) || Array.isArray(value),
    'it has no "data" of typed values',
  ),
});

/**
 * Takes what a script gives as a tensor.
 * @throws {FerryError} SCORING_FAILED when it is not what was declared
 */
export function toTensor({ name, type }: Pick<TensorSpec, 'name' | 'type'>, given: unknown): Tensor {
  const parsed = tensorValue.safeParse(given);
  if (!parsed.success) throw invalid(name, parsed.error.issues[0]?.message ?? 'it is no tensor');
  const { shape, data } = parsed.data;
  if (isText(data) !== (type === 'string')) throw invalid(name, `its data is not of the type ${type}`);
  if (data.length !== elementCount(shape))
    throw invalid(name, `it has ${data.length} elements, its shape [${shape.join(', ')}]`);
  return { name, type, shape, data };
}

const payloadValue = z.object({
  // RFC 6838: a type and a subtype.
  contentType: z.string().regex(/^[\w.+-]+\/[\w.+-]+(;.*)?$/, 'its "contentType" is no MIME type'),
  content: z.instanceof(Uint8Array),
});

/**
 * Takes what a script gives as a payload.
 * @throws {FerryError} SCORING_FAILED when it is none
 */
export function toPayload(given: unknown): z.infer<typeof payloadValue> {
  const parsed = payloadValue.safeParse(given);
  if (parsed.success) return parsed.data;
  throw new FerryError(
    'SCORING_FAILED',
    `Cannot collect the payload: ${parsed.error.issues[0]?.message ?? 'it is none'}`,
  );
}

const badCorrelationId = `the correlation id is no text of 1 to ${correlationIdLengthMax} characters`;
const collectCall = z.object({
  designation: z.enum(designations, `the designation is none of ${designations.join(', ')}`),
  correlationId: z
    .string(badCorrelationId)
    .min(1, badCorrelationId)
    .max(correlationIdLengthMax, badCorrelationId)
    .optional(),
});

/**
 * Checks what a script says of rows that it collects.
 * @throws {FerryError} SCORING_FAILED when the designation or the correlation id is none
 */
export function checkCollectCall(given: z.input<typeof collectCall>): void {
  const parsed = collectCall.safeParse(given);
  if (parsed.success) return;
  const problems = parsed.error.issues.map(({ message }) => message).join('; ');
  throw new FerryError('SCORING_FAILED', `Cannot collect rows: ${problems}`);
}

/** Gives tensors by name, as scripts have them. */
export function toRecord(tensors: readonly Tensor[]): Record<string, ScriptTensor> {
  return Object.fromEntries(tensors.map(({ name, shape, data }) => [name, { shape, data }]));
}

/** Writes what a script gave as JSON: nothing is `{}`, typed arrays are arrays, long integers keep all their digits. */
export function jsonAnswer(value: unknown): Answer {
  const text = JSON.stringify(value ?? {}, (_, inner: unknown) => {
    if (typeof inner === 'bigint') return rawJson(String(inner));
    if (ArrayBuffer.isView(inner) && !(inner instanceof DataView))
      return Array.from(inner as unknown as ArrayLike<unknown>);
    return inner;
  });
  return { contentType: 'application/json', body: Buffer.from(text ?? '{}') };
}

/** Headers that say where an answer ends, or are for the connection: no script has a say in them. */
const ownedByConnection: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const rawValue = z.object({
  status: z.int().min(200).max(599).default(200),
  headers: z
    .record(z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/), z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/))
    .default({}),
  body: z.unknown(),
});

/**
 * Writes what a raw script gave: `{ status, headers, body }`, where text and bytes go out as they are and anything else as JSON.
 * @throws {FerryError} SCORING_FAILED when it is nothing of that kind
 */
export function rawAnswer(value: unknown): Answer {
  const parsed = rawValue.safeParse(value ?? {});
  if (!parsed.success)
    throw new FerryError(
      'SCORING_FAILED',
      `Cannot answer: the script gave ${parsed.error.issues.map(({ message }) => message).join('; ')}`,
    );
  const { status, headers, body } = parsed.data;
  const { 'content-type': type, ...others } = Object.fromEntries(
    Object.entries(headers)
      .map(([name, text]) => [name.toLowerCase(), text] as const)
      .filter(([name]) => !ownedByConnection.has(name)),
  );
  const answer =
    typeof body === 'string' || body instanceof Uint8Array
      ? { contentType: 'text/plain', body: Buffer.from(body as string) }
      : jsonAnswer(body);
  return { ...answer, contentType: type ?? answer.contentType, status, headers: Object.entries(others).flat() };
}

/** JSON text that stands for itself; V8 has it, TypeScript's library does not yet. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON: (this: void, text: string) => unknown };

function invalid(name: string, found: string): FerryError {
  return new FerryError('SCORING_FAILED', `Cannot use the tensor "${name}" of the script: ${found}`);
}
