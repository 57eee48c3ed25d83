import { Socket } from 'node:net';
import { join } from 'node:path';
import { type FerryError, isFerryError, messageOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import { scriptPath } from '../../../shared/model/script.ts';
import type { Collector } from '../../collect/collector.ts';
import type { Collection } from '../collection.ts';
import { InlineScorer } from '../inline-scorer.ts';
import { loadModel } from '../model/load-model.ts';
import { tryModel } from '../model/trial.ts';
import type { Scorer } from '../scorer.ts';
import { startCollection } from '../start-collection.ts';
import { loadScript } from '../script/scoring-script.ts';
import { ScriptScorer } from '../script/script-scorer.ts';
import { type ScoringSettings, scriptModel } from '../settings.ts';
import { forwardLines } from '../telemetry/forward-lines.ts';
import type { LogLines } from '../telemetry/log-lines.ts';
import { ShelvedBodies } from './body-shelf.ts';
import { type Frame, FrameReader, writeFrame } from './frame.ts';
import {
  type WorkerAnswer,
  type WorkerFailure,
  type WorkerOrder,
  workerPipe,
  workerShelf,
  type WorkerReady,
  type WorkerRequest,
} from './worker-protocol.ts';

/** The server sends no more than this at a time, so it is never reached. */
const waitingMax = 1024;

/** How long the last rows get to reach the disk. */
const commitTimeoutMs = 1_500;

/** What a worker takes from the program around it. */
export interface WorkerProcessOptions {
  readonly log: Logger;
  /** Where the log goes, to be sent elsewhere as well. */
  readonly lines: LogLines;
  /** The program's main module. */
  readonly entry: URL;
}

/**
 * Scores in a process of its own: a model that takes long, hangs, crashes or grows harms nobody else. Its pipe to the server brings
 * what to do, first the model and then requests; it ends when the pipe does.
 * @throws {FerryError} MODEL_INVALID
 */
export async function runWorkerProcess(options: WorkerProcessOptions): Promise<void> {
  const pipe = new Socket({ fd: workerPipe, readable: true, writable: true });
  const { promise: ordered, resolve } = Promise.withResolvers<WorkerOrder>();
  let onFrame = (frame: Frame): void => resolve(frame.header as WorkerOrder);
  const reader = new FrameReader((frame) => onFrame(frame));
  let close = (): Promise<unknown> => Promise.resolve();
  pipe.on('data', (piece: Buffer) => reader.push(piece));
  pipe.on('error', () => pipe.destroy());
  pipe.on('close', () => void close().finally(() => process.exit(0)));
  const order = await ordered;
  const collection = await startCollection(order.settings, options);
  const sendLastLines = forwardLines(order.settings, options);
  close = () => Promise.all([collection?.close(commitTimeoutMs), sendLastLines()]);
  const { scorer, ready } = await loadScorer(order, { collection, log: options.log });
  const shelved = new ShelvedBodies(workerShelf);
  onFrame = (frame) => void answer(scorer, frame, { pipe, bodies: shelved, keepsBodies: order.model === 'script' });
  writeFrame(pipe, ready);
}

interface Loaded {
  readonly scorer: Scorer;
  readonly ready: WorkerReady;
}

async function loadScorer(
  { settings, model: index }: WorkerOrder,
  parts: { readonly collection: Collection | undefined; readonly log: Logger },
): Promise<Loaded> {
  const collector = parts.collection?.collector;
  parts.log.level = settings.logLevel;
  if (index === 'script') return await startScript(settings, { collector, log: parts.log });
  const model = settings.config.models[index];
  if (model === undefined) throw new Error(`There is no model ${index}`);
  const loaded = await loadModel(model, { root: settings.root, log: parts.log });
  const { sharesRuns } = tryModel(loaded);
  const batching = { sharesRuns, waitingMax, rowsMax: settings.batchRowsMax };
  return { scorer: new InlineScorer(loaded, { batching, collector }), ready: { kind: 'ready', sharesRuns } };
}

/** Loads all models of the image, for the script to run. */
async function startScript(
  settings: ScoringSettings,
  parts: { readonly collector: Collector | undefined; readonly log: Logger },
): Promise<Loaded> {
  const script = await loadScript(join(settings.root, scriptPath));
  const models = [];
  for (const model of settings.config.models) {
    const path = join(settings.root, model.path);
    models.push({ path, loaded: await loadModel(model, { root: settings.root, log: parts.log }) });
  }
  const scorer = await ScriptScorer.start(script, { standsFor: scriptModel(settings), models, ...parts });
  const { signature } = scorer.model;
  return { scorer, ready: { kind: 'ready', sharesRuns: false, script: { signature, raw: script.raw } } };
}

async function answer(
  scorer: Scorer,
  { header, body }: Frame,
  {
    pipe,
    bodies,
    keepsBodies,
  }: { readonly pipe: Socket; readonly bodies: ShelvedBodies; readonly keepsBodies: boolean },
): Promise<void> {
  const { id, timeLeftMs, timeoutMs, shelved, ...call } = header as WorkerRequest;
  const wanted = { abandoned: false, deadlineAtMs: performance.now() + timeLeftMs, timeoutMs };
  try {
    const taken = shelved === undefined ? body : bodies.take(shelved, call.jsonBytes);
    // Nobody knows what a script does with its input when it has answered.
    const content = keepsBodies && shelved !== undefined ? Uint8Array.from(taken) : taken;
    const scored = await scorer.score({ ...call, body: content, wanted });
    const { body: answered, ...said } = scored.answer;
    const { times, batchRequests, correlationId } = scored;
    writeFrame(
      pipe,
      { kind: 'answer', id, ...said, times, batchRequests, correlationId } satisfies WorkerAnswer,
      answered,
    );
  } catch (error) {
    const code: FerryError['code'] = isFerryError(error) ? error.code : 'SCORING_FAILED';
    writeFrame(pipe, { kind: 'failure', id, code, message: messageOf(error) } satisfies WorkerFailure);
  }
}
