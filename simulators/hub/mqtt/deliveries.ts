import type { Commands, TakenCommand } from '../commands.ts';
import { HubError } from '../hub-error.ts';

/** How many messages to a device may wait for its acknowledgement. */
const underWayMax = 10;

/**
 * Cloud-to-device messages on their way to a client, by packet id.
 *
 * Invariant: each is in the queue of its device until the client acknowledges it; what is not acknowledged when the connection
 * ends goes out again, to whoever connects next.
 */
export class Deliveries {
  readonly #commands: Commands;
  readonly #underWay = new Map<number, TakenCommand>();

  constructor(commands: Commands) {
    this.#commands = commands;
  }

  /** Takes the next message of a device, if there is one and the client keeps up. */
  begin(
    deviceId: string,
    nextPacketId: () => number,
  ): { readonly packetId: number; readonly command: TakenCommand } | undefined {
    if (this.#underWay.size >= underWayMax) return undefined;
    const command = this.#commands.receive(deviceId);
    if (command === undefined) return undefined;
    const packetId = nextPacketId();
    this.#underWay.set(packetId, command);
    return { packetId, command };
  }

  has(packetId: number): boolean {
    return this.#underWay.has(packetId);
  }

  /** Takes a client's acknowledgement; says whether it was one of a message that is under way. */
  end(packetId: number): boolean {
    const command = this.#underWay.get(packetId);
    if (command === undefined) return false;
    this.#underWay.delete(packetId);
    this.#settle(command, 'complete');
    return true;
  }

  /** Gives back what is not acknowledged. */
  abandon(): void {
    for (const command of this.#underWay.values()) this.#settle(command, 'abandon');
    this.#underWay.clear();
  }

  #settle({ deviceId, lock }: TakenCommand, how: 'complete' | 'abandon'): void {
    try {
      this.#commands[how](deviceId, lock.token);
    } catch (error) {
      // It ended while it was on its way: purged, or gone with its device.
      if (!(error instanceof HubError)) throw error;
    }
  }
}
