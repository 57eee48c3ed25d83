import type { Random } from '../../shared/random.ts';
import type { Profile } from './profile.ts';
import type { Timeline } from './timeline.ts';

/** How long a lost message takes to be sent again, in milliseconds; it doubles (RFC 6298, 2.1 and 5.5). */
const resendMs = 1_000;

/** The link of a light device: sometimes down, with delays and losses. */
export class LightNetwork {
  readonly #network: Profile['network'];
  readonly #timeline: Timeline;
  readonly #random: Random;
  /** Reasons for which it is down. */
  readonly #down = new Set<string>();
  #changed = Promise.withResolvers<void>();
  readonly #listeners = new Set<() => void>();
  /** Messages that were sent again. */
  resent = 0;

  constructor(network: Profile['network'], options: { readonly timeline: Timeline; readonly random: Random }) {
    this.#network = network;
    this.#timeline = options.timeline;
    this.#random = options.random;
    if (network.flapping !== undefined) this.#flap(network.flapping);
  }

  get isUp(): boolean {
    return this.#down.size === 0;
  }

  get bytesPerSecond(): number {
    return this.#network.bytesPerSecond;
  }

  /** Calls back when it goes down, until that is called off by what is given back. */
  onDown(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes it down for a reason, or takes that reason away. */
  set(reason: string, isDown: boolean): void {
    const wasUp = this.isUp;
    if (isDown) this.#down.add(reason);
    else this.#down.delete(reason);
    if (this.isUp === wasUp) return;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
    if (!this.isUp) for (const listener of this.#listeners) listener();
  }

  /** Lets a message go one way. @throws when the link is or goes down */
  async carry(bytes: number): Promise<void> {
    const { roundTripMs, lossShare, bytesPerSecond } = this.#network;
    let delayMs = roundTripMs / 2 + (bytes / bytesPerSecond) * 1000;
    let again = resendMs;
    while (this.#random.fraction() < lossShare) {
      this.resent += 1;
      delayMs += again;
      again *= 2;
    }
    if (this.isUp) await this.#timeline.sleep(delayMs);
    if (!this.isUp) throw new Error('the network is down');
  }

  /** Waits until it is up. */
  async untilUp(signal: AbortSignal): Promise<void> {
    const { promise: aborted, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    while (!this.isUp && !signal.aborted) await Promise.race([this.#changed.promise, aborted]);
    signal.removeEventListener('abort', onAbort);
    signal.throwIfAborted();
  }

  #flap({ upMs, downMs, phaseMs }: { readonly upMs: number; readonly downMs: number; readonly phaseMs: number }): void {
    const change = (isDown: boolean): void => {
      this.set('flapping', isDown);
      this.#timeline.at(this.#timeline.monotonicMs() + (isDown ? downMs : upMs), () => change(!isDown));
    };
    this.#timeline.at(this.#timeline.monotonicMs() + phaseMs, () => change(true));
  }
}
