import { randomUUID } from 'node:crypto';
import { FerryError, isFerryError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { ScoredModel } from '../../../shared/model/service-config.ts';
import type { Collector } from '../../collect/collector.ts';
import type { CollectedPayload } from '../../collect/payload.ts';
import type { Tensor } from '../../collect/tensor.ts';
import { timedOut } from '../model/batcher.ts';
import type { OnnxModel } from '../model/onnx-model.ts';
import { parseScoreBody, writeScoreAnswer } from '../protocol/score-body.ts';
import type { Answer, ScoreCall } from '../protocol/score-call.ts';
import type { Scored, Scorer } from '../scorer.ts';
import type { RawRequest, RunContext, ScoringScript, ScriptModel } from './scoring-script.ts';
import { checkCollectCall, jsonAnswer, rawAnswer, toPayload, toRecord, toTensor } from './script-value.ts';

/** The settings of a {@link ScriptScorer}. */
export interface ScriptScorerOptions {
  /** What it answers for: rows that it collects are collected for that. */
  readonly standsFor: ScoredModel;
  readonly models: readonly { readonly path: string; readonly loaded: OnnxModel }[];
  readonly collector: Collector | undefined;
  readonly log: Logger;
}

/** What a client is told of a script that throws, in Azure ML's words; the log has the rest. */
const failureMessage = 'An unexpected error occurred in scoring script. Check the logs for more info.';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Scores with a user's script, one request after the other. It stands in for the first model of the image, where there is one. */
export class ScriptScorer implements Scorer {
  readonly model: ScoredModel;
  readonly #script: ScoringScript;
  readonly #options: ScriptScorerOptions;
  readonly #models: Record<string, ScriptModel>;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  private constructor(script: ScoringScript, options: ScriptScorerOptions) {
    const { inputs = [], outputs = [] } = script;
    this.model = { ...options.standsFor, signature: { inputs, outputs } };
    this.#script = script;
    this.#options = options;
    this.#models = Object.fromEntries(
      options.models
        .toSorted((left, right) => left.loaded.model.version - right.loaded.model.version)
        .map(({ path, loaded }) => [loaded.model.name, toScriptModel(path, loaded)]),
    );
  }

  /**
   * Initialises a script.
   * @throws {FerryError} IMAGE_INVALID when its `init` fails
   */
  static async start(script: ScoringScript, options: ScriptScorerOptions): Promise<ScriptScorer> {
    const scorer = new ScriptScorer(script, options);
    try {
      await script.init?.({ models: scorer.#models });
      return scorer;
    } catch (cause) {
      throw new FerryError('IMAGE_INVALID', 'Cannot start the scoring script: its init() failed', { cause });
    }
  }

  get waiting(): number {
    return this.#waiting;
  }

  async score(call: ScoreCall): Promise<Scored> {
    const sinceMs = performance.now();
    const before = this.#last;
    this.#waiting += 1;
    const own = before.then(() => this.#scoreNow(call, sinceMs)).finally(() => (this.#waiting -= 1));
    this.#last = own.catch(() => undefined);
    return await own;
  }

  close(): void {
    // It lives as long as its process.
  }

  async #scoreNow(call: ScoreCall, sinceMs: number): Promise<Scored> {
    const startMs = performance.now();
    const timeLeftMs = call.wanted.deadlineAtMs - startMs;
    if (timeLeftMs <= 0) throw timedOut(call.wanted.timeoutMs);
    const input = this.#readInput(call);
    const parsedMs = performance.now();
    const result = await this.#run(input, { call, timeLeftMs });
    const ranMs = performance.now();
    const answer = this.#write(result);
    const times = {
      queueMs: startMs - sinceMs,
      parseMs: parsedMs - startMs,
      runMs: ranMs - parsedMs,
      writeMs: performance.now() - ranMs,
    };
    return { answer, times, batchRequests: 1 };
  }

  /** @throws {FerryError} REQUEST_INVALID */
  #readInput(call: ScoreCall): unknown {
    const { raw, inputs } = this.#script;
    if (raw)
      return { ...(call.http ?? { method: 'POST', query: '', headers: {} }), body: call.body } satisfies RawRequest;
    if (inputs !== undefined) return toRecord(parseScoreBody(call.body, this.model).feeds);
    try {
      return JSON.parse(utf8.decode(call.body)) as unknown;
    } catch (cause) {
      throw new FerryError('REQUEST_INVALID', 'Cannot read the request: its body is no JSON in UTF-8', { cause });
    }
  }

  async #run(input: unknown, { call, timeLeftMs }: { call: ScoreCall; timeLeftMs: number }): Promise<unknown> {
    const context: RunContext = {
      models: this.#models,
      requestId: call.requestId,
      headers: call.http?.headers ?? {},
      signal: AbortSignal.timeout(Math.ceil(timeLeftMs)),
      timeLeftMs,
      collect: (designation, values, options) => {
        checkCollectCall({ designation, correlationId: options?.correlationId });
        const correlationId = options?.correlationId ?? randomUUID();
        const { name, version } = this.model;
        const { tensors, payloads } = toCollected(values);
        const ids = { correlationId, requestId: call.requestId, scoredAtMs: Date.now() };
        this.#options.collector?.collect({ model: name, version, designation, tensors, payloads, ...ids });
        return correlationId;
      },
    };
    try {
      return await this.#script.run(input, context);
    } catch (error) {
      this.#options.log.error({ requestId: call.requestId, err: error }, 'the scoring script failed');
      // A model's failure says what is wrong with the request; the text of any other error is nobody's business.
      if (isFerryError(error, 'REQUEST_INVALID')) throw error;
      throw new FerryError('SCORING_FAILED', failureMessage);
    }
  }

  #write(result: unknown): Answer {
    const { raw, outputs } = this.#script;
    if (raw) return rawAnswer(result);
    if (outputs === undefined) return jsonAnswer(result);
    const given = (result ?? {}) as Record<string, unknown>;
    return writeScoreAnswer(outputs.map((output) => toTensor(output, given[output.name])));
  }
}

/** Parts what a script collects into columns and payloads. */
function toCollected(values: Parameters<RunContext['collect']>[1]): {
  readonly tensors: readonly Tensor[];
  readonly payloads: readonly CollectedPayload[];
} {
  const tensors: Tensor[] = [];
  const payloads: CollectedPayload[] = [];
  for (const [name, value] of Object.entries(values)) {
    if ('contentType' in value) payloads.push({ name, ...toPayload(value) });
    else tensors.push(toTensor({ name, type: value.type }, value));
  }
  return { tensors, payloads };
}

function toScriptModel(path: string, loaded: OnnxModel): ScriptModel {
  const { version, signature } = loaded.model;
  return {
    version,
    path,
    signature,
    run: async (inputs) => toRecord(loaded.run(signature.inputs.map((input) => toTensor(input, inputs[input.name])))),
  };
}
