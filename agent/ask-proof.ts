import { answerDifference } from '../shared/model/answer-difference.ts';
import { type ImageSample, sampleRequestId } from '../shared/model/service-config.ts';
import { messageOf } from '../shared/errors.ts';
import { askModule } from './ask-module.ts';
import type { ModuleSpec } from './module-spec.ts';

/** What a module has to show for itself. */
export type Proof =
  /** It is ready, and scores its sample right if it has one. */
  | { readonly kind: 'good'; readonly scored: boolean }
  /** It may come yet. */
  | { readonly kind: 'not yet'; readonly reason: string }
  /** It scores, and wrong: it will not get better. */
  | { readonly kind: 'wrong'; readonly reason: string }
  /** It binds no scoring port to this machine. */
  | { readonly kind: 'silent' };

/** How long a module may take to say that it is ready, in milliseconds; it is asked again. */
const readyTimeoutMs = 2_000;
/** How long a module may take to score its sample, in milliseconds; it is asked again. */
const scoreTimeoutMs = 10_000;
/** Most bytes of an answer. */
const answerBytesMax = 1024 * 1024;

/**
 * Asks a module whether it is ready, then has it score the sample that its model was registered with. A module of somebody else that answers but
 * does not know the first question counts as ready.
 * @see Open Inference Protocol v2, "Server Ready"
 */
export async function askProof(
  spec: Pick<ModuleSpec, 'name' | 'createOptions'>,
  sample: ImageSample | undefined,
  signal?: AbortSignal,
): Promise<Proof> {
  const question = { bytesMax: answerBytesMax, ...(signal && { signal }) };
  try {
    const ready = await askModule(spec, { ...question, path: '/v2/health/ready', timeoutMs: readyTimeoutMs });
    if (ready === undefined) return { kind: 'silent' };
    const isReady = ready.status < 300 || ready.status === 404 || ready.status === 405;
    if (!isReady) return { kind: 'not yet', reason: `it says that it is not ready (${ready.status})` };
    if (sample === undefined) return { kind: 'good', scored: false };
    const answer = await askModule(spec, {
      ...question,
      method: 'POST',
      path: '/score',
      headers: { 'x-request-id': sampleRequestId },
      body: JSON.stringify(sample.input),
      timeoutMs: scoreTimeoutMs,
    });
    return judge(sample, answer ?? { status: 0, body: '' });
  } catch (error) {
    return { kind: 'not yet', reason: messageOf(error) };
  }
}

function judge(sample: ImageSample, { status, body }: { status: number; body: string }): Proof {
  // Whoever wants a key or another path is not asked further: the agent has none.
  if ([401, 403, 404, 405].includes(status)) return { kind: 'good', scored: false };
  if (status !== 200) {
    const reason = `it answers its sample with ${status}: ${body.slice(0, 300)}`;
    return { kind: status >= 500 || status === 429 ? 'not yet' : 'wrong', reason };
  }
  const difference = answerDifference(sample.output, parsed(body));
  if (difference === undefined) return { kind: 'good', scored: true };
  return { kind: 'wrong', reason: `it scores its sample wrong: ${difference}` };
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return body;
  }
}
