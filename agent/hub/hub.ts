import type { Clock } from '../../shared/clock.ts';
import { withDeadline } from '../../shared/deadline.ts';
import { formatDeviceConnectionString, type DeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { isFerryError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { isProxied, proxiedAgent } from '../../shared/proxy.ts';
import { reportDiff } from '../report-diff.ts';
import type { JsonObject } from '../report.ts';
import { retryDelayMs } from './backoff.ts';
import { measureClockSkew } from './clock-skew.ts';
import { hubError } from './hub-error.ts';
import { HubSession, type HubLink, type OpenSession, type SessionHandlers } from './hub-session.ts';

/** The settings of {@link Hub}. */
export interface HubOptions {
  readonly device: DeviceConnectionString;
  /** Gives the key that the agent's module signs in with. @default the device's own */
  readonly agentKey?: (signal: AbortSignal) => Promise<string>;
  /** Whether this device has ever been let in: then a refusal may be the hub's passing trouble, and is tried again for ever. */
  readonly knownToHub: boolean;
  /** Gets the desired properties after each connection and each change. */
  readonly onDesired: (desired: unknown) => Promise<void>;
  readonly onMethod: SessionHandlers['onMethod'];
  /** Opens a connection. @default over MQTT with the device SDK */
  readonly openSession?: OpenSession;
  /** Asks the hub how far this machine's clock is off. @default over HTTPS */
  readonly measureClockSkew?: typeof measureClockSkew;
  /** Is called when it is news how far this machine's clock is off. */
  readonly onClockSkew?: () => void;
  /** Gives a number from 0 to 1, by which waits are spread. @default Math.random */
  readonly random?: () => number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How the link to the hub is. */
export interface HubConnection {
  readonly isUp: boolean;
  /** Since when it has been so, by this machine's clock, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** Why it was last lost, or could not be had. */
  readonly lastError?: string;
}

/** How often the twin is read although nothing was heard, in milliseconds (IoT Edge, ConfigRefreshFrequencySecs). */
const refreshEveryMs = 3_600_000;

/** How long what the hub was last asked about the time is good for, in milliseconds. */
const skewGoodForMs = 1_800_000;
/** How far two answers may be apart that say the same, in milliseconds: the hub tells its time to the second. */
const skewErrorMs = 2_000;
/** How far a clock may be off before tokens are made with that in mind, in milliseconds: the hub allows for 5 minutes. */
const skewThatMattersMs = 60_000;

/** How long the last report may take, in milliseconds: the agent has 10 s to end. */
const flushTimeoutMs = 2_000;

/** The link to the IoT Hub: keeps it up for ever, hands in what is desired, and reports what is new. */
export class Hub {
  readonly #options: HubOptions;
  readonly #address: string;
  /** Then the link goes over HTTPS, or what looks like it: a proxy lets nothing else through. */
  readonly #isProxied: boolean;
  #known: boolean;
  #connection: HubConnection;
  /** How far this machine's clock is ahead of the hub's, in milliseconds, as far as the hub has been asked. */
  #clockSkewMs: number | undefined;
  /** When it was last asked for that, monotonic. */
  #skewAskedMs = Number.NEGATIVE_INFINITY;
  #wanted: JsonObject | undefined;
  /** What the hub holds; nothing while there is no connection. */
  #held: JsonObject | undefined;
  #wake = Promise.withResolvers<void>();
  #flushed: PromiseWithResolvers<void> | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#known = options.knownToHub;
    this.#isProxied = isBehindProxy(options.device);
    this.#address = addressOf(options.device, this.#isProxied);
    this.#connection = { isUp: false, sinceMs: options.clock.nowMs() };
  }

  /** How the link is. */
  get connection(): HubConnection & { readonly clockSkewMs?: number } {
    return { ...this.#connection, ...(this.#clockSkewMs === undefined ? {} : { clockSkewMs: this.#clockSkewMs }) };
  }

  /** Takes the state to report; the hub gets what differs from what it holds, now or when it is reached again. */
  report(state: JsonObject): void {
    this.#wanted = state;
    this.#wake.resolve();
  }

  /**
   * Keeps the link until the signal is aborted.
   * @throws {FerryError} HUB_UNAUTHORIZED when the hub refuses a device that it has never let in
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    signal.addEventListener('abort', () => this.#wake.resolve(), { once: true });
    for (let failures = 1; !signal.aborted; failures += 1) {
      const startedMs = clock.monotonicMs();
      try {
        await this.#oneSession(signal);
      } catch (thrown) {
        if (signal.aborted) break;
        if (isBug(thrown)) throw thrown;
        const error = isFerryError(thrown) && thrown.code !== 'TIMEOUT' ? thrown : hubError(thrown, this.#address);
        this.#noteConnection(false, messageOf(error));
        if (error.code === 'HUB_UNAUTHORIZED' && !(await this.#clockWasWrong(signal)) && !this.#known) throw error;
        // A connection that held for a while starts the count anew.
        if (clock.monotonicMs() - startedMs > 60_000) failures = 1;
        const delayMs = retryDelayMs(failures, this.#options.random?.());
        log.warn({ code: error.code, retryInMs: Math.round(delayMs) }, messageOf(error));
        await clock.sleep(delayMs, signal).catch(() => undefined);
      }
    }
  }

  /** Waits until the hub has what was last reported; does nothing when there is no connection. */
  async flush(signal: AbortSignal): Promise<void> {
    if (this.#held === undefined) return;
    this.#flushed ??= Promise.withResolvers();
    this.#wake.resolve();
    const { promise } = this.#flushed;
    await withDeadline({ doing: 'send the last report', timeoutMs: flushTimeoutMs, signal }, () => promise);
  }

  async #oneSession(signal: AbortSignal): Promise<void> {
    const { device, onMethod, log } = this.#options;
    const sharedAccessKey = await this.#options.agentKey?.(signal);
    const identity = formatDeviceConnectionString({
      ...device,
      moduleId: '$edgeAgent',
      ...(sharedAccessKey === undefined ? {} : { sharedAccessKey }),
    });
    let changed = true;
    let lost: Error | undefined;
    /** Requests one after the other that the hub had no room for. */
    let throttled = 0;
    let isRead = false;
    const handlers: SessionHandlers = {
      onChanged: () => {
        changed = true;
        this.#wake.resolve();
      },
      onLost: (error) => {
        lost ??= error;
        this.#wake.resolve();
      },
      onMethod,
    };
    const clockBehindMs = -(this.#clockSkewMs ?? 0);
    const { openSession = (...args) => HubSession.open(...args) } = this.#options;
    await using session = await openSession(
      { connectionString: identity, clockBehindMs, webSocket: this.#isProxied ? proxiedAgent() : undefined },
      handlers,
      signal,
    );
    this.#known = true;
    this.#noteConnection(true);
    log.info({ hub: this.#address, device: device.deviceId }, 'connected to the hub');
    try {
      while (!signal.aborted) {
        this.#wake = Promise.withResolvers();
        if (lost !== undefined) throw lost;
        try {
          if (changed) {
            changed = false;
            isRead = false;
            await this.#readTwin(session, signal);
            isRead = true;
            void this.#askTimeUnlessKnown(signal);
          }
          await this.#sendReport(session, signal);
          throttled = 0;
        } catch (error) {
          if (!isFerryError(error, 'OVERLOADED')) throw error;
          throttled += 1;
          changed ||= !isRead;
          await this.#waitForRoom(throttled, () => lost !== undefined, signal);
          continue;
        }
        this.#flushed?.resolve();
        this.#flushed = undefined;
        if (!changed && lost === undefined && (await this.#waitIsLong())) changed = true;
      }
    } finally {
      this.#held = undefined;
      this.#flushed?.resolve();
    }
  }

  #noteConnection(isUp: boolean, error?: string): void {
    const sinceMs = isUp === this.#connection.isUp ? this.#connection.sinceMs : this.#options.clock.nowMs();
    const lastError = error ?? this.#connection.lastError;
    this.#connection = { isUp, sinceMs, ...(lastError === undefined ? {} : { lastError }) };
  }

  /** Asks the hub what time it is, unless it was asked lately. */
  async #askTimeUnlessKnown(signal: AbortSignal): Promise<void> {
    if (this.#options.clock.monotonicMs() - this.#skewAskedMs < skewGoodForMs) return;
    // Nothing depends on it: a link that goes down in between is told of where it is used.
    await this.#measureSkew(signal).catch(() => undefined);
  }

  /** After a refusal: asks the hub what time it is, and says whether that is news which may make the next try go well. */
  async #clockWasWrong(signal: AbortSignal): Promise<boolean> {
    const before = this.#clockSkewMs ?? 0;
    const skewMs = await this.#measureSkew(signal);
    if (skewMs === undefined || Math.abs(skewMs - before) < skewThatMattersMs) return false;
    this.#options.log.warn(
      { clockSkewSeconds: Math.round(skewMs / 1000) },
      "this machine's clock is not the hub's: making up for it",
    );
    return true;
  }

  async #measureSkew(signal: AbortSignal): Promise<number | undefined> {
    const { clock, device } = this.#options;
    this.#skewAskedMs = clock.monotonicMs();
    const measure = this.#options.measureClockSkew ?? measureClockSkew;
    const skewMs = await measure(device.gatewayHostName ?? device.hostName, signal);
    // Else each answer would be news for the hub, a second up and a second down.
    const isSame = Math.abs((skewMs ?? Infinity) - (this.#clockSkewMs ?? Infinity)) < skewErrorMs;
    if (skewMs === undefined || isSame) return skewMs;
    this.#clockSkewMs = skewMs;
    this.#options.onClockSkew?.();
    return skewMs;
  }

  /** Waits until the hub may have room again, as after a failed connection; less long when the connection is lost. */
  async #waitForRoom(throttled: number, isOver: () => boolean, signal: AbortSignal): Promise<void> {
    const { clock, log, random } = this.#options;
    const untilMs = clock.monotonicMs() + retryDelayMs(throttled, random?.());
    log.info({ retryInMs: Math.round(untilMs - clock.monotonicMs()) }, 'the hub is throttling requests');
    while (!signal.aborted && !isOver() && clock.monotonicMs() < untilMs) {
      const over = new AbortController();
      await Promise.race([
        this.#wake.promise,
        clock.sleep(untilMs - clock.monotonicMs(), over.signal).catch(() => undefined),
      ]);
      over.abort(new Error('no longer waited for'));
      this.#wake = Promise.withResolvers();
    }
  }

  async #readTwin(session: HubLink, signal: AbortSignal): Promise<void> {
    const { desired, reported } = await session.readTwin(signal);
    this.#held = reported;
    await this.#options.onDesired(desired);
  }

  async #sendReport(session: HubLink, signal: AbortSignal): Promise<void> {
    const wanted = this.#wanted;
    if (wanted === undefined || this.#held === undefined) return;
    const patch = reportDiff(this.#held, wanted);
    if (patch === undefined) return;
    await session.patchReported(patch, signal);
    this.#held = wanted;
  }

  /** Waits until something happens; says whether nothing has for so long that the twin is to be read to be sure. */
  async #waitIsLong(): Promise<boolean> {
    const over = new AbortController();
    try {
      return await Promise.race([
        this.#wake.promise.then(() => false),
        this.#options.clock.sleep(refreshEveryMs, over.signal).then(() => true),
      ]);
    } finally {
      over.abort(new Error('no longer waited for'));
    }
  }
}

/** Says whether it is the program that is wrong, not the world: that is no reason to try for ever. */
function isBug(thrown: unknown): boolean {
  return thrown instanceof TypeError || thrown instanceof ReferenceError || thrown instanceof RangeError;
}

function addressOf(device: DeviceConnectionString, isProxiedHub: boolean): string {
  const host = device.gatewayHostName ?? device.hostName;
  return /:\d+$/.test(host) ? host : `${host}:${isProxiedHub ? 443 : 8883}`;
}

function isBehindProxy({ hostName, gatewayHostName }: DeviceConnectionString): boolean {
  return isProxied(new URL(`https://${gatewayHostName ?? hostName}`).hostname);
}
