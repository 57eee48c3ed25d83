import { sampleRequestId, type ServiceModel } from '../../shared/model/service-config.ts';
import type { Collector } from '../collect/collector.ts';
import type { Designation } from '../collect/stream.ts';
import type { Tensor } from '../collect/tensor.ts';
import { newId } from './new-id.ts';
import { parseInferBody } from './protocol/infer-body.ts';
import { parseScoreBody } from './protocol/score-body.ts';
import type { ParsedRequest, ScoreCall } from './protocol/score-call.ts';

/** Reads a request in the wire format that it has. @throws {FerryError} REQUEST_INVALID */
export function readCall(call: ScoreCall, model: ServiceModel): ParsedRequest {
  if (call.protocol === 'score') return parseScoreBody(call.body, model);
  return parseInferBody(call.body, call.jsonBytes, model);
}

/** A request that was scored, with what went in and what came out. */
interface ScoredTensors {
  readonly model: ServiceModel;
  readonly call: ScoreCall;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/** Collects what went in and what came out of a request, and gives the id that names its rows. */
export function collectScored(
  collector: Collector | undefined,
  { model, call, inputs, outputs }: ScoredTensors,
): string | undefined {
  const { requestId, idIsOwn = false } = call;
  if (collector === undefined || requestId === sampleRequestId) return undefined;
  const { name, version } = model;
  // A client may send one id with many requests; one that was made here names this request alone.
  const correlationId = idIsOwn ? requestId : newId();
  const scoredAtMs = Date.now();
  const collect = (designation: Designation, tensors: readonly Tensor[]): boolean =>
    collector.collect({ model: name, version, requestId, correlationId, scoredAtMs, designation, tensors });
  collect('inputs', inputs);
  collect('predictions', outputs);
  return correlationId;
}
