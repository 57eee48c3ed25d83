import type { Clock } from '../../shared/clock.ts';
import { createLogger } from '../../shared/log.ts';
import { HubError } from '../hub/hub-error.ts';
import { isObject, type JsonObject } from '../hub/json.ts';
import { assemble, type Parts } from '../hub/parts.ts';
import { Store } from '../hub/store.ts';
import type { FleetRequest } from './light-process.ts';

/** What one device is answered. */
interface Answer {
  readonly error?: 'disconnected' | 'throttled' | 'unauthorized' | 'unavailable';
  readonly desired?: JsonObject;
  readonly reported?: JsonObject;
}

/** The settings of a {@link VirtualHub}. */
export interface VirtualHubOptions {
  /** What its clock shows at the begin, in milliseconds since 1970. */
  readonly epochMs: number;
  readonly s1Units?: number | undefined;
}

/** The module that agents are. */
const moduleId = '$edgeAgent';

/**
 * The core of the IoT Hub simulator (registry, twins, configurations, presence, throttles, faults) without its protocols, in a time that whoever
 * drives it sets; and a storage account that only remembers which rows are in which blob.
 */
export class VirtualHub implements Disposable {
  readonly parts: Parts;
  /** First and last row of each blob, by device and name. */
  readonly blobs = new Map<string, Map<string, readonly [number, number]>>();
  readonly #options: VirtualHubOptions;
  readonly #store: Store;
  readonly #connected = new Set<string>();
  readonly #changed = new Set<string>();
  #wasOut = false;
  /** Milliseconds from the begin. */
  nowMs = 0;

  constructor(options: VirtualHubOptions) {
    this.#options = options;
    this.#store = new Store(undefined);
    const clock: Clock = {
      nowMs: () => options.epochMs + this.nowMs,
      monotonicMs: () => this.nowMs,
      sleep: async () => {
        throw new Error('Nothing of a virtual hub waits');
      },
    };
    const log = createLogger('hub', { level: 'warn' });
    this.parts = assemble({ store: this.#store, clock, log, s1Units: options.s1Units });
    const { configurations, evaluator, registry, twins } = this.parts;
    registry.events.on('changed', (deviceId) => evaluator.mark(deviceId));
    configurations.events.on('changed', () => evaluator.markAll());
    twins.events.on('desired', (address) => {
      if (address.moduleId === moduleId) this.#changed.add(address.deviceId);
    });
  }

  /** Answers what has arrived, in its order. */
  answer(requests: readonly FleetRequest[]): Answer[] {
    return this.#store.together(() => requests.map((request) => this.#answerOne(request)));
  }

  /** Gives who is to be told of a change, and who has been cut, since this was last asked. */
  takeNews(): { readonly changed: readonly string[]; readonly dropped: readonly string[] } {
    const changed = [...this.#changed].filter((deviceId) => this.#connected.has(deviceId));
    this.#changed.clear();
    const { isOut } = this.parts.faults;
    const dropped = isOut && !this.#wasOut ? [...this.#connected] : [];
    this.#wasOut = isOut;
    for (const deviceId of dropped) this.#disconnect(deviceId);
    return { changed, dropped };
  }

  [Symbol.dispose](): void {
    this.#store[Symbol.dispose]();
  }

  #answerOne(request: FleetRequest): Answer {
    const { deviceId, op } = request;
    if (op === 'close') {
      this.#disconnect(deviceId);
      return {};
    }
    if (this.parts.faults.isOut) return { error: 'unavailable' };
    if (op === 'connect') return this.#connect(deviceId, Number(request['tokenEndsMs']));
    if (op === 'upload') return this.#keepBlob(request);
    if (!this.#connected.has(deviceId)) return { error: 'disconnected' };
    const { twins, throttles, registry } = this.parts;
    try {
      throttles.check(op === 'read' ? 'twin reads' : 'twin updates');
      if (op === 'report') {
        const patch = request['patch'] as JsonObject;
        if (!isObject(patch)) throw new Error('A patch was wanted');
        twins.report({ deviceId, moduleId }, patch);
        return {};
      }
      const { desired, reported } = registry.module(deviceId, moduleId).twin;
      return { desired: { ...desired.value, $version: desired.version }, reported: reported.value };
    } catch (error) {
      if (error instanceof HubError && error.errorName === 'ThrottlingException') return { error: 'throttled' };
      throw error;
    }
  }

  #connect(deviceId: string, tokenEndsMs: number): Answer {
    if (!this.parts.throttles.lets('connections')) return { error: 'unavailable' };
    if (tokenEndsMs <= this.#options.epochMs + this.nowMs) return { error: 'unauthorized' };
    this.#connected.add(deviceId);
    this.parts.presence.set({ deviceId, moduleId }, 'Connected');
    return {};
  }

  #disconnect(deviceId: string): void {
    if (this.#connected.delete(deviceId)) this.parts.presence.set({ deviceId, moduleId }, 'Disconnected');
  }

  #keepBlob(request: FleetRequest): Answer {
    if (!this.parts.throttles.lets('upload initiations')) return { error: 'throttled' };
    const blobs = this.blobs.get(request.deviceId) ?? new Map<string, readonly [number, number]>();
    this.blobs.set(request.deviceId, blobs);
    blobs.set(String(request['name']), [Number(request['firstseq']), Number(request['lastseq'])]);
    return {};
  }
}
