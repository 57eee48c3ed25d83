import { z } from 'zod';
import { askModule } from '../ask-module.ts';
import { answerBytesMax, type MethodAnswer, type MethodContext, schemaVersion } from './method.ts';

const requestSchema = z.object({
  schemaVersion,
  /** Name of the module. */
  id: z.string().min(1),
  /** What is scored: the body of `POST /score`. */
  input: z.unknown().refine((input) => input !== undefined, 'rows to score'),
  /** Key of the service, where it has one. */
  key: z.string().optional(),
});

/** How long a module may take to score, in milliseconds. */
const scoreTimeoutMs = 50_000;

/** Answers `ScoreModule`: lets a module of the device score, for a caller who can reach the hub but not the device. */
export async function scoreModule(
  payload: unknown,
  { specOf }: MethodContext,
  signal: AbortSignal,
): Promise<MethodAnswer> {
  const { id, input, key } = requestSchema.parse(payload);
  const spec = specOf(id);
  if (spec === undefined) return { status: 404, payload: { message: `The deployment has no module "${id}"` } };
  const answer = await askModule(spec, {
    method: 'POST',
    path: '/score',
    body: JSON.stringify(input),
    ...(key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } }),
    timeoutMs: scoreTimeoutMs,
    bytesMax: answerBytesMax,
    signal,
  });
  if (answer === undefined) {
    return { status: 400, payload: { message: `The module "${id}" binds no scoring port to this device` } };
  }
  return { status: answer.status, payload: parsed(answer.body) };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
