import { createHash } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Clock } from '../../shared/clock.ts';
import type { Message, Sender } from './message.ts';

/** A message that the built-in endpoint holds. */
export interface StoredEvent {
  readonly partition: number;
  /** Counts up from 0 in its partition. */
  readonly sequence: number;
  readonly enqueuedMs: number;
  readonly sender: Sender;
  /** Where it came from, as the `iothub-message-source` annotation has it. */
  readonly source: 'Telemetry' | 'twinChangeEvents' | 'deviceLifecycleEvents' | 'deviceConnectionStateEvents';
  readonly message: Message;
}

/** How many partitions the built-in endpoint has; 4 is what a new hub gets. */
export const partitionCount = 4;

/** What is held at most of all partitions together, in bytes of message bodies; the oldest go first. */
const heldBytesMax = 64 * 1024 * 1024;
/** How long a message is held: the default retention. */
const retentionMs = 24 * 60 * 60 * 1000;

interface EventLogEvents {
  readonly event: [event: StoredEvent];
}

/**
 * The built-in endpoint: what devices sent, in order, for back ends to read.
 *
 * Invariants: what one device sent stays in order, in one partition; sequence numbers have no gap; held bytes are bounded.
 */
export class EventLog {
  readonly events = new EventEmitter<EventLogEvents>();
  readonly #clock: Clock;
  readonly #partitions: { events: StoredEvent[]; next: number }[] = Array.from({ length: partitionCount }, () => ({
    events: [],
    next: 0,
  }));
  #heldBytes = 0;

  constructor(options: { readonly clock: Clock }) {
    this.#clock = options.clock;
    // One listener a reading back end; their number is theirs.
    this.events.setMaxListeners(0);
  }

  append(sender: Sender, message: Message, source: StoredEvent['source'] = 'Telemetry'): void {
    const index = partitionOf(sender.address.deviceId);
    const partition = this.#partitions[index];
    if (partition === undefined) throw new RangeError(`no partition ${index}`);
    const event = {
      partition: index,
      sequence: partition.next,
      enqueuedMs: this.#clock.nowMs(),
      sender,
      source,
      message,
    };
    partition.next += 1;
    partition.events.push(event);
    this.#heldBytes += message.body.length;
    this.#drop();
    this.events.emit('event', event);
  }

  /** Gives what a partition holds from a sequence number on, oldest first. */
  read(partition: number, fromSequence = 0, max = Number.POSITIVE_INFINITY): readonly StoredEvent[] {
    const { events = [] } = this.#partitions[partition] ?? {};
    const first = Math.max(0, fromSequence - (events[0]?.sequence ?? 0));
    return events.slice(first, first + max);
  }

  /** Gives all that is held, oldest first. */
  readAll(): readonly StoredEvent[] {
    return this.#partitions.flatMap(({ events }) => events).sort((left, right) => left.enqueuedMs - right.enqueuedMs);
  }

  /** Gives the sequence number that the next event of a partition will have. */
  nextSequence(partition: number): number {
    return this.#partitions[partition]?.next ?? 0;
  }

  #drop(): void {
    const oldestMs = this.#clock.nowMs() - retentionMs;
    for (const partition of this.#partitions) {
      while (partition.events[0] !== undefined && partition.events[0].enqueuedMs < oldestMs) this.#dropFirst(partition);
    }
    while (this.#heldBytes > heldBytesMax) {
      const largest = this.#partitions.reduce((one, other) => (other.events.length > one.events.length ? other : one));
      this.#dropFirst(largest);
    }
  }

  #dropFirst(partition: { events: StoredEvent[] }): void {
    const event = partition.events.shift();
    this.#heldBytes -= event?.message.body.length ?? 0;
  }
}

/** Gives the partition of a device: always the same. */
function partitionOf(deviceId: string): number {
  return createHash('md5').update(deviceId).digest().readUInt32BE() % partitionCount;
}
