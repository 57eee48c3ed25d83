import type { Socket } from 'node:net';
import { answerText } from './answer-text.ts';
import { BodyReader } from './body-reader.ts';
import { readResponseHead, type RequestHead } from './message-head.ts';
import type { AnswerTaker, ReplicaConnection } from './replica-connection.ts';
import type { RequestQueue } from './request-queue.ts';
import type { Upstream } from './upstream.ts';

/** Bytes of a request that are kept to be sent again, and read before there is a replica for it. */
const keptBytesMax = 262_144;
const headBytesMax = 65_536;
/** Replicas that one request is tried on at most. */
const triesMax = 2;
const headEnd = '\r\n\r\n';

/** What an {@link Exchange} is between. */
export interface ExchangeOptions {
  readonly head: RequestHead;
  readonly client: Socket;
  readonly queue: RequestQueue;
  /** Called once, when the answer is wholly written; not when the client has gone. */
  readonly onDone: (status: number, mayGoOn: boolean) => void;
}

/**
 * One request and its answer, handed on piece by piece as they come.
 *
 * - A replica that fails before the first byte of its answer costs the client nothing: scoring has no effect, so the request is sent to another
 *   one, once, as long as all of it is still here.
 * - A side that does not read stops the other from being read.
 */
export class Exchange implements AnswerTaker {
  readonly #options: ExchangeOptions;
  readonly #requestBody: BodyReader;
  #kept: Buffer[] | undefined = [];
  #keptBytes = 0;
  #upstream: Upstream | undefined;
  #replica: ReplicaConnection | undefined;
  #stopWaiting: () => void = () => {};
  #answerHead: Buffer | undefined;
  #answerBody: BodyReader | undefined;
  #status = 0;
  #answerCloses = false;
  #hasAnswered = false;
  #isOver = false;
  #tries = 0;

  constructor(options: ExchangeOptions) {
    this.#options = options;
    this.#requestBody = new BodyReader(options.head.framing);
  }

  /** Takes what has come of the request: its head, which ends at `bodyAt`, and what there is of its body. @returns how much of it is the request's */
  begin(received: Buffer, bodyAt: number): number {
    const { rewritten } = this.#options.head;
    const end = bodyAt + this.#requestBody.take(received, bodyAt);
    if (rewritten === undefined) this.#keep(received.subarray(0, end));
    else {
      this.#keep(rewritten);
      if (end > bodyAt) this.#keep(received.subarray(bodyAt, end));
    }
    return end;
  }

  /** Asks for a replica and sends it what there is. */
  send(): void {
    this.#tries += 1;
    this.#stopWaiting = this.#options.queue.request((upstream) => this.#give(upstream), this.#upstream);
  }

  /** Takes more of the request. @returns how much of it is its */
  takeBody(piece: Buffer): number {
    if (this.#requestBody.isDone) return 0;
    const taken = this.#requestBody.take(piece);
    if (this.#requestBody.isBroken) {
      this.#answer(400, 'its body is not well formed');
      return piece.byteLength;
    }
    const body = taken === piece.byteLength ? piece : piece.subarray(0, taken);
    const replica = this.#replica;
    this.#keep(body);
    if (replica === undefined) {
      if (this.#keptBytes > keptBytesMax) this.#options.client.pause();
    } else if (!replica.write(body)) this.#options.client.pause();
    return taken;
  }

  clientDrained(): void {
    this.#replica?.resume();
  }

  replicaDrained(): void {
    this.#options.client.resume();
  }

  /** The client has gone: what was begun for it ends. */
  abandon(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopWaiting();
    this.#letGo(false);
  }

  timeOut(): void {
    this.#answer(504, 'it took too long');
  }

  #give(upstream: Upstream | undefined): void {
    if (upstream === undefined) {
      this.#answer(503, 'every replica of the service is busy, or none is ready');
      return;
    }
    this.#upstream = upstream;
    const replica = upstream.open(this);
    this.#replica = replica;
    const { client } = this.#options;
    let isOpen = true;
    for (const piece of this.#kept ?? []) isOpen = replica.write(piece);
    if (this.#keptBytes > keptBytesMax) this.#kept = undefined;
    if (isOpen && client.isPaused()) client.resume();
  }

  takeAnswer(piece: Buffer): boolean {
    this.#takeAnswer(piece);
    return this.#options.client.writableLength === 0;
  }

  #takeAnswer(piece: Buffer): void {
    if (this.#isOver) return;
    if (this.#answerBody !== undefined) {
      this.#forward(piece, 0);
      return;
    }
    const all = this.#answerHead === undefined ? piece : Buffer.concat([this.#answerHead, piece]);
    const at = all.indexOf(headEnd);
    if (at < 0) {
      // The piece is the connection's own, and is read into again.
      this.#answerHead = Buffer.from(all);
      if (all.byteLength > headBytesMax) this.#answer(502, 'a replica gave no answer of HTTP');
      return;
    }
    const bodyAt = at + headEnd.length;
    const head = readResponseHead(all.toString('latin1', 0, bodyAt), this.#options.head.isHead);
    if (head === undefined) {
      this.#answer(502, 'a replica gave no answer of HTTP');
      return;
    }
    this.#hasAnswered = true;
    if (head.status < 200) {
      // "100 Continue" and the like come before the answer.
      this.#options.client.write(all.subarray(0, bodyAt));
      this.#answerHead = undefined;
      if (bodyAt < all.byteLength) this.#takeAnswer(all.subarray(bodyAt));
      return;
    }
    this.#status = head.status;
    this.#answerCloses = head.closes;
    this.#answerBody = new BodyReader(head.framing);
    this.#forward(all, bodyAt);
  }

  /** Writes a piece of the answer to the client, of which the body's part begins at `bodyAt`. */
  #forward(piece: Buffer, bodyAt: number): void {
    const body = this.#answerBody;
    if (body === undefined) return;
    const end = bodyAt + body.take(piece, bodyAt);
    const { client } = this.#options;
    const isOpen = client.write(end === piece.byteLength ? piece : piece.subarray(0, end));
    if (body.isBroken) {
      this.#cutOff();
    } else if (body.isDone) {
      this.#done(end === piece.byteLength && !this.#answerCloses);
    } else if (!isOpen) this.#replica?.pause();
  }

  /** The replica's connection is gone. */
  lose(): void {
    if (this.#isOver) return;
    if (this.#answerBody?.endsWithConnection === true) {
      this.#done(false);
      return;
    }
    const mayRetry = !this.#hasAnswered && this.#kept !== undefined && this.#tries < triesMax;
    if (!mayRetry) {
      this.#answer(502, 'the replica that had it is gone');
      return;
    }
    this.#letGo(false);
    this.#answerHead = undefined;
    this.send();
  }

  #done(isReusable: boolean): void {
    this.#isOver = true;
    // An answer before the whole request, such as 413: what is left of that must not be read as the next one.
    const isWhole = this.#requestBody.isDone;
    this.#letGo(isReusable && isWhole);
    this.#options.onDone(this.#status, isWhole && !this.#answerCloses);
  }

  /** Answers in place of a replica. */
  #answer(status: number, because: string): void {
    if (this.#isOver) return;
    if (this.#hasAnswered) {
      this.#cutOff();
      return;
    }
    this.#isOver = true;
    this.#stopWaiting();
    this.#letGo(false);
    const isWhole = this.#requestBody.isDone;
    this.#options.client.write(answerText(status, `Cannot score: ${because}`, { closes: !isWhole }));
    this.#options.onDone(status, isWhole);
  }

  /** What the client has of the answer is all that it gets: only the end of the connection can say so. */
  #cutOff(): void {
    this.#isOver = true;
    this.#letGo(false);
    this.#options.client.destroy();
  }

  #letGo(isReusable: boolean): void {
    const [replica, upstream] = [this.#replica, this.#upstream];
    this.#replica = undefined;
    if (replica === undefined || upstream === undefined) return;
    if (isReusable) upstream.keep(replica);
    else replica.destroy();
    upstream.release();
    this.#options.queue.serve();
  }

  #keep(piece: Buffer): void {
    this.#keptBytes += piece.byteLength;
    if (this.#replica !== undefined && this.#keptBytes > keptBytesMax) this.#kept = undefined;
    this.#kept?.push(piece);
  }
}
