import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Clock } from '../../shared/clock.ts';
import { HubError } from './hub-error.ts';
import { type Message, commandBytesMax, sizeOf } from './message.ts';
import type { Store } from './store.ts';

/** When the sender of a cloud-to-device message wants to hear of its end. */
export type Acknowledgement = 'none' | 'positive' | 'negative' | 'full';

/** How a cloud-to-device message ended. */
export type Outcome = 'Success' | 'Expired' | 'DeliveryCountExceeded' | 'Rejected' | 'Purged';

/** A cloud-to-device message in its device's queue. */
export interface Command {
  readonly deviceId: string;
  readonly sequence: number;
  readonly message: Message;
  readonly acknowledgement: Acknowledgement;
  readonly enqueuedMs: number;
  readonly expiresMs: number;
  /** How often it has been given to the device. */
  deliveryCount: number;
  /** Who holds it now, and until when. */
  lock: { readonly token: string; readonly untilMs: number } | undefined;
}

/** A cloud-to-device message that somebody has taken: as it was then, with the lock that ends it. */
export type TakenCommand = Readonly<Omit<Command, 'lock'>> & { readonly lock: NonNullable<Command['lock']> };

/** Limits of the service. @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-c2d */
const queueMax = 50;
const deliveryCountMax = 10;
const defaultTtlMs = 60 * 60 * 1000;
const ttlMaxMs = 48 * 60 * 60 * 1000;

interface CommandsEvents {
  /** A device has something to fetch. */
  readonly waiting: [deviceId: string];
  readonly ended: [command: Command, outcome: Outcome];
}

interface KeptCommand extends Omit<Command, 'message' | 'lock'> {
  readonly message: Omit<Message, 'body'> & { readonly body: string };
}

/**
 * The queues of cloud-to-device messages.
 *
 * Invariants: at most 50 wait for a device; each is given to one receiver at a time and at most 10 times; what is accepted is in
 * the store until it ended; each ends once.
 */
export class Commands {
  readonly events = new EventEmitter<CommandsEvents>();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #queues = new Map<string, Command[]>();
  #lastSequence = 0;

  constructor(options: { readonly store: Store; readonly clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
    for (const kept of this.#store.read<KeptCommand>('command').values()) {
      const message = { ...kept.message, body: Buffer.from(kept.message.body, 'base64') };
      this.#queue(kept.deviceId).push({ ...kept, message, lock: undefined });
      this.#lastSequence = Math.max(this.#lastSequence, kept.sequence);
    }
    for (const queue of this.#queues.values()) queue.sort((left, right) => left.sequence - right.sequence);
  }

  /**
   * Puts a message into a device's queue.
   * @throws {HubError} MessageTooLarge, DeviceMaximumQueueDepthExceeded, ArgumentInvalid when its expiry is in the past
   */
  enqueue(
    deviceId: string,
    message: Message,
    options: { readonly acknowledgement?: Acknowledgement; readonly expiresMs?: number | undefined } = {},
  ): void {
    const bytes = sizeOf(message);
    if (bytes > commandBytesMax) {
      throw new HubError('MessageTooLarge', `The message has ${bytes} bytes, ${commandBytesMax} at most are allowed`);
    }
    const queue = this.#queue(deviceId);
    if (queue.length >= queueMax) {
      throw new HubError(
        'DeviceMaximumQueueDepthExceeded',
        `The queue of device '${deviceId}' holds ${queueMax} messages`,
      );
    }
    const now = this.#clock.nowMs();
    const expiresMs = options.expiresMs ?? now + defaultTtlMs;
    if (expiresMs <= now) throw new HubError('ArgumentInvalid', "The message's expiry time is in the past");
    this.#lastSequence += 1;
    const command: Command = {
      deviceId,
      sequence: this.#lastSequence,
      message,
      acknowledgement: options.acknowledgement ?? 'none',
      enqueuedMs: now,
      expiresMs: Math.min(expiresMs, now + ttlMaxMs),
      deliveryCount: 0,
      lock: undefined,
    };
    queue.push(command);
    this.#put(command);
    this.events.emit('waiting', deviceId);
  }

  count(deviceId: string): number {
    return this.#queues.get(deviceId)?.length ?? 0;
  }

  /**
   * Takes the next message of a device that nobody holds, and locks it.
   * @param lockMs how long it is locked; forever (until abandoned) when not given
   */
  receive(deviceId: string, lockMs = Number.POSITIVE_INFINITY): TakenCommand | undefined {
    this.#sweepQueue(deviceId);
    const command = this.#queues.get(deviceId)?.find(({ lock }) => lock === undefined);
    if (command === undefined) return undefined;
    command.deliveryCount += 1;
    const lock = { token: randomUUID(), untilMs: this.#clock.nowMs() + lockMs };
    command.lock = lock;
    this.#put(command);
    return { ...command, lock };
  }

  /** Ends a message that the device has taken. @throws {HubError} DeviceMessageLockLost */
  complete(deviceId: string, lockToken: string): void {
    this.#end(this.#locked(deviceId, lockToken), 'Success');
  }

  /** Ends a message that the device refuses. @throws {HubError} DeviceMessageLockLost */
  reject(deviceId: string, lockToken: string): void {
    this.#end(this.#locked(deviceId, lockToken), 'Rejected');
  }

  /** Puts a message back into the queue. @throws {HubError} DeviceMessageLockLost */
  abandon(deviceId: string, lockToken: string): void {
    const command = this.#locked(deviceId, lockToken);
    command.lock = undefined;
    this.#sweepQueue(deviceId);
    if (this.count(deviceId) > 0) this.events.emit('waiting', deviceId);
  }

  /** Ends all messages of a device and says how many. */
  purge(deviceId: string): number {
    const queue = this.#queue(deviceId).slice();
    for (const command of queue) this.#end(command, 'Purged');
    return queue.length;
  }

  /** Forgets a device that is no more, without a word to any sender. */
  forget(deviceId: string): void {
    for (const command of this.#queues.get(deviceId) ?? []) this.#store.remove('command', nameOf(command));
    this.#queues.delete(deviceId);
  }

  /** Ends what has expired or been given too often, and frees what was locked too long. */
  sweep(): void {
    for (const deviceId of this.#queues.keys()) this.#sweepQueue(deviceId);
  }

  #sweepQueue(deviceId: string): void {
    const now = this.#clock.nowMs();
    const queue = this.#queues.get(deviceId) ?? [];
    for (const command of queue.slice()) {
      if (command.lock !== undefined && command.lock.untilMs > now) continue;
      const wasLocked = command.lock !== undefined;
      command.lock = undefined;
      if (command.expiresMs <= now) this.#end(command, 'Expired');
      else if (command.deliveryCount >= deliveryCountMax) this.#end(command, 'DeliveryCountExceeded');
      else if (wasLocked) this.events.emit('waiting', deviceId);
    }
  }

  #locked(deviceId: string, lockToken: string): Command {
    const command = this.#queues.get(deviceId)?.find(({ lock }) => lock?.token === lockToken);
    if (command === undefined) throw new HubError('DeviceMessageLockLost', 'The message is not locked by this token');
    return command;
  }

  #end(command: Command, outcome: Outcome): void {
    const queue = this.#queue(command.deviceId);
    queue.splice(queue.indexOf(command), 1);
    if (queue.length === 0) this.#queues.delete(command.deviceId);
    this.#store.remove('command', nameOf(command));
    this.events.emit('ended', command, outcome);
  }

  #queue(deviceId: string): Command[] {
    const queue = this.#queues.get(deviceId) ?? [];
    this.#queues.set(deviceId, queue);
    return queue;
  }

  #put(command: Command): void {
    const { lock: _lock, message, ...rest } = command;
    const kept: KeptCommand = { ...rest, message: { ...message, body: message.body.toString('base64') } };
    this.#store.put('command', nameOf(command), kept);
  }
}

function nameOf({ deviceId, sequence }: Command): string {
  return `${deviceId}/${String(sequence).padStart(12, '0')}`;
}
