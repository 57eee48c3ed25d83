import { z } from 'zod';
import { FerryError } from '../../shared/errors.ts';
import type { HubLink, OpenSession, SessionHandlers } from '../hub/hub-session.ts';
import type { JsonObject } from '../report.ts';
import type { LightNetwork } from './light-network.ts';
import type { Link } from './link.ts';
import type { Timeline } from './timeline.ts';

/** What is asked of the hub at the other end of the pipe, about one device. */
interface Request {
  readonly deviceId: string;
  readonly op: 'connect' | 'close' | 'read' | 'report' | 'upload';
  readonly [field: string]: unknown;
}

const answerSchema = z.object({
  /** The hub's answer to each request, in their order. */
  answers: z.array(
    z.object({
      error: z.enum(['disconnected', 'throttled', 'unauthorized', 'unavailable']).optional(),
      desired: z.record(z.string(), z.unknown()).optional(),
      reported: z.record(z.string(), z.unknown()).optional(),
    }),
  ),
  /** Devices of which something is desired that was not before, and devices that the hub has cut. */
  changed: z.array(z.string()),
  dropped: z.array(z.string()),
});

type Answer = z.infer<typeof answerSchema>['answers'][number];

/** Sends one batch through the pipe and gives what came back. */
export type AskPipe = (batch: { readonly atMs: number; readonly requests: readonly Request[] }) => Promise<unknown>;

/** How often the hub takes what has arrived, in milliseconds: less than any message takes on its way. */
const takeEveryMs = 20;
/** How long a token is good, in milliseconds (the device SDK's own). */
const tokenMs = 3_600_000;
/** How long it takes to find that nobody answers, in milliseconds. */
const connectTimeoutMs = 5_000;

/**
 * The hub as light devices in virtual time see it: messages take their time over the network, all that has arrived goes through the pipe as one
 * batch, and time stands still until the answers are there.
 */
export class PipeHub {
  readonly #timeline: Timeline;
  readonly #ask: AskPipe;
  #waiting: { readonly request: Request; readonly answer: (answer: Answer) => void }[] = [];
  /** Whether the hub is to take what waits. */
  #isTakeDue = false;
  /** The sessions that are open, by device. */
  readonly #sessions = new Map<string, PipeSession>();

  constructor(options: { readonly timeline: Timeline; readonly ask: AskPipe }) {
    this.#timeline = options.timeline;
    this.#ask = options.ask;
  }

  /** Gives the link of one device. @param nowMs its own clock */
  linkOf(deviceId: string, of: { readonly network: LightNetwork; readonly nowMs: () => number }): Link {
    const { network, nowMs } = of;
    const openSession: OpenSession = async ({ clockBehindMs }, handlers) => {
      if (!network.isUp) await this.#timeline.sleep(connectTimeoutMs);
      const tokenEndsMs = nowMs() + tokenMs + Math.max(0, clockBehindMs);
      await this.#exchange(network, { deviceId, op: 'connect', tokenEndsMs });
      const session = new PipeSession({ hub: this, deviceId, network, handlers });
      this.#sessions.set(deviceId, session);
      return session;
    };
    return {
      openSession,
      measureClockSkew: async () => {
        await network.carry(0);
        return nowMs() - this.#timeline.nowMs();
      },
      destination: {
        upload: async ({ name, content, metadata }) => {
          await network.carry(content.length);
          await this.#exchange(network, { deviceId, op: 'upload', name, bytes: content.length, ...metadata });
        },
      },
    };
  }

  /** Makes one request of a session and gives the answer. Throws what came in between. */
  exchange(session: PipeSession, request: Request): Promise<Answer> {
    return this.#exchange(session.network, request);
  }

  /** Tells the hub that a session is over; the network has no say in that. */
  close(session: PipeSession): void {
    if (this.#sessions.get(session.deviceId) !== session) return;
    this.#sessions.delete(session.deviceId);
    // It goes with what comes next: nobody waits for it.
    this.#waiting.push({ request: { deviceId: session.deviceId, op: 'close' }, answer: () => undefined });
  }

  /** Gives the hub its turn: what has arrived, if anything. */
  async take(): Promise<void> {
    const batch = this.#waiting;
    this.#waiting = [];
    this.#isTakeDue = false;
    const requests = batch.map(({ request }) => request);
    const { answers, changed, dropped } = answerSchema.parse(
      await this.#ask({ atMs: this.#timeline.monotonicMs(), requests }),
    );
    for (const [at, { answer }] of batch.entries()) answer(answers[at] ?? { error: 'unavailable' });
    for (const deviceId of dropped) this.#sessions.get(deviceId)?.drop();
    for (const deviceId of changed) void this.#sessions.get(deviceId)?.tellChange();
  }

  async #exchange(network: LightNetwork, request: Request): Promise<Answer> {
    await network.carry(JSON.stringify(request).length);
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#enqueue(request, resolve);
    const answer = await promise;
    await network.carry(JSON.stringify(answer).length);
    if (answer.error === 'throttled') throw new FerryError('OVERLOADED', 'Cannot go on at the hub: it is throttling');
    if (answer.error === 'unauthorized') throw new FerryError('HUB_UNAUTHORIZED', 'Cannot sign in to the hub');
    if (answer.error !== undefined) throw new Error(`the hub says: ${answer.error}`);
    return answer;
  }

  #enqueue(request: Request, answer: (answer: Answer) => void): void {
    if (!this.#isTakeDue) {
      this.#isTakeDue = true;
      const nowMs = this.#timeline.monotonicMs();
      this.#timeline.at((Math.floor(nowMs / takeEveryMs) + 1) * takeEveryMs, () => this.take());
    }
    this.#waiting.push({ request, answer });
  }
}

/** One connection of a light device through the pipe. */
class PipeSession implements HubLink {
  readonly deviceId: string;
  readonly network: LightNetwork;
  readonly #hub: PipeHub;
  readonly #handlers: SessionHandlers;
  readonly #callOff: () => void;

  constructor(of: {
    readonly hub: PipeHub;
    readonly deviceId: string;
    readonly network: LightNetwork;
    readonly handlers: SessionHandlers;
  }) {
    this.deviceId = of.deviceId;
    this.network = of.network;
    this.#hub = of.hub;
    this.#handlers = of.handlers;
    this.#callOff = of.network.onDown(() => this.drop());
  }

  async readTwin(): Promise<{ readonly desired: unknown; readonly reported: JsonObject }> {
    const { desired, reported } = await this.#hub.exchange(this, { deviceId: this.deviceId, op: 'read' });
    return { desired, reported: (reported ?? {}) as JsonObject };
  }

  async patchReported(patch: JsonObject): Promise<void> {
    await this.#hub.exchange(this, { deviceId: this.deviceId, op: 'report', patch });
  }

  /** Ends it from the other side. */
  drop(): void {
    this.#hub.close(this);
    this.#handlers.onLost(new Error('the connection was closed'));
  }

  /** Says, as soon as that has arrived, that something else is desired. */
  async tellChange(): Promise<void> {
    await this.network.carry(0).then(this.#handlers.onChanged, () => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#callOff();
    this.#hub.close(this);
  }
}
