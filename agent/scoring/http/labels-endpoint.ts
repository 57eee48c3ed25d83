import { FerryError } from '../../../shared/errors.ts';
import type { Collector } from '../../collect/collector.ts';
import { parseLabelsBody } from '../protocol/labels-body.ts';
import type { ServedModels } from '../served-models.ts';
import type { Exchange } from './exchange.ts';
import { type BodyLimits, readBody } from './request-body.ts';
import { replyFailure } from './score-endpoint.ts';

/** What labelling needs beside the request. */
export interface LabelsEndpointOptions {
  readonly models: ServedModels;
  /** @default collection is off */
  readonly collector: Collector | undefined;
  readonly bodies: BodyLimits;
}

/** Takes what came true of rows that were scored, to be joined with them by their correlation id; 202, since it is durable soon. */
export async function answerLabels(
  exchange: Exchange,
  { models, collector, bodies }: LabelsEndpointOptions,
): Promise<void> {
  try {
    if (collector === undefined)
      throw new FerryError('MODEL_NOT_FOUND', 'Cannot take labels: collection is off for this service');
    const { correlationId, model: wanted, tensors } = parseLabelsBody(await readBody(exchange, bodies));
    const { model } = wanted === undefined ? models.primary : models.find(wanted);
    const { name, version } = model;
    const ids = { correlationId, requestId: exchange.requestId, scoredAtMs: Date.now() };
    collector.collect({ model: name, version, designation: 'labels', tensors, ...ids });
    exchange.json(202, { rows: tensors[0]?.data.length ?? 0 });
  } catch (error) {
    replyFailure(exchange, error, 'score');
  }
}
