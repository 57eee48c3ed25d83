import { EventEmitter } from 'node:events';
import type { Clock } from '../../shared/clock.ts';
import type { Store } from './store.ts';

/** What back ends are told of: the end of a cloud-to-device message, or a file that a device uploaded. */
export type NoticeKind = 'feedback' | 'filenotifications';

/** A notice in its queue. */
export interface Notice {
  readonly kind: NoticeKind;
  readonly sequence: number;
  readonly enqueuedMs: number;
  /** The JSON document that it is, as it goes over the wire. */
  readonly body: unknown;
}

/** What a queue holds at most; the oldest go first. */
const queueMax = 10_000;
/** How long a notice waits for a back end. @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-c2d */
const ttlMs = 60 * 60 * 1000;

interface NoticesEvents {
  readonly waiting: [kind: NoticeKind];
}

/**
 * The queues of notices for back ends, one a kind.
 *
 * Invariants: a notice is given to one back end at a time, and goes only when that accepts it, or when its time is over.
 */
export class Notices {
  readonly events = new EventEmitter<NoticesEvents>();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #waiting: Record<NoticeKind, Notice[]> = { feedback: [], filenotifications: [] };
  #lastSequence = 0;

  constructor(options: { readonly store: Store; readonly clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
    // One listener a link of a back end; their number is theirs.
    this.events.setMaxListeners(0);
    for (const notice of this.#store.read<Notice>('notification').values()) {
      this.#waiting[notice.kind].push(notice);
      this.#lastSequence = Math.max(this.#lastSequence, notice.sequence);
    }
  }

  add(kind: NoticeKind, body: unknown): void {
    this.#lastSequence += 1;
    const notice: Notice = { kind, sequence: this.#lastSequence, enqueuedMs: this.#clock.nowMs(), body };
    const queue = this.#waiting[kind];
    queue.push(notice);
    this.#store.put('notification', nameOf(notice), notice);
    if (queue.length > queueMax) this.#forget(queue.shift());
    this.events.emit('waiting', kind);
  }

  /** Takes the oldest notice; it has to be settled. */
  take(kind: NoticeKind): Notice | undefined {
    const queue = this.#waiting[kind];
    const oldestMs = this.#clock.nowMs() - ttlMs;
    while (queue[0] !== undefined && queue[0].enqueuedMs < oldestMs) this.#forget(queue.shift());
    return queue.shift();
  }

  /** Ends what was taken, or puts it back where it was. */
  settle(notice: Notice, isAccepted: boolean): void {
    if (isAccepted) {
      this.#forget(notice);
      return;
    }
    this.#waiting[notice.kind].unshift(notice);
    this.events.emit('waiting', notice.kind);
  }

  #forget(notice: Notice | undefined): void {
    if (notice !== undefined) this.#store.remove('notification', nameOf(notice));
  }
}

function nameOf({ kind, sequence }: Notice): string {
  return `${kind}/${String(sequence).padStart(12, '0')}`;
}
