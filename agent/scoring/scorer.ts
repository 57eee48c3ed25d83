import type { ScoredModel } from '../../shared/model/service-config.ts';
import type { AcceleratorReport } from './accelerator/accelerator-report.ts';
import type { Answer, ScoreCall } from './protocol/score-call.ts';

/** Where the time of a request went, in milliseconds. */
export interface StageTimes {
  readonly parseMs: number;
  /** Waiting for the model to be free. */
  readonly queueMs: number;
  readonly runMs: number;
  readonly writeMs: number;
}

/** A request that was scored. */
export interface Scored {
  readonly answer: Answer;
  readonly times: StageTimes;
  /** Requests that shared the run. */
  readonly batchRequests: number;
  /** Names the rows that were collected of it. @default none were */
  readonly correlationId?: string | undefined;
}

/** Scores requests to one model: bytes in, bytes out. */
export interface Scorer {
  readonly model: ScoredModel;
  /** Requests that wait for their run. */
  readonly waiting: number;
  /** How the accelerator is that runs the model. @default it runs here */
  readonly accelerator?: AcceleratorReport | undefined;
  /**
   * Scores one request.
   * @throws {FerryError} REQUEST_INVALID, OVERLOADED, TIMEOUT, INTERRUPTED when nobody wants the answer any more, or SCORING_FAILED
   */
  score(call: ScoreCall): Promise<Scored>;
  /** Gives back what it holds. */
  close(): void;
}
