import { EventEmitter, once } from 'node:events';
import { withDeadline } from '../../shared/deadline.ts';
import { isFerryError } from '../../shared/errors.ts';
import { HubError } from './hub-error.ts';
import { type Address, addressKey } from './identity/identity.ts';
import type { Json } from './json.ts';

/** Largest payload of a direct method, either way, in bytes. */
const payloadBytesMax = 128 * 1024;

/** A direct method's call as its device gets it. */
export interface MethodCall {
  readonly method: string;
  readonly requestId: string;
  readonly payload: Json | undefined;
}

/** What a back end asks for. */
export interface Invocation {
  readonly method: string;
  readonly payload: Json | undefined;
  /** How long the device may take to answer. */
  readonly responseTimeoutMs: number;
  /** How long to wait for the device to connect. */
  readonly connectTimeoutMs: number;
}

/** What the device answered. */
export interface MethodResult {
  readonly status: number;
  readonly payload: Json | undefined;
}

interface Pending {
  readonly address: Address;
  readonly resolve: (result: MethodResult) => void;
  readonly reject: (error: HubError) => void;
}

/**
 * Direct methods: calls to devices that are connected, and their answers.
 *
 * Invariants: each call ends once, by its answer, its time-out, or its device's going away; an answer that nobody waits for
 * changes nothing.
 */
export class Methods {
  readonly #listeners = new Map<string, (call: MethodCall) => void>();
  readonly #pending = new Map<string, Pending>();
  readonly #ready = new EventEmitter<Record<string, []>>();
  #lastRequest = 0;

  constructor() {
    // One listener for each call that waits for a device.
    this.#ready.setMaxListeners(0);
  }

  /**
   * Calls a direct method.
   * @throws {HubError} DeviceNotOnline (404103), GatewayTimeout (504101), DeviceConnectionClosedRemotely, MessageTooLarge
   */
  async invoke(address: Address, invocation: Invocation): Promise<MethodResult> {
    const { method, payload } = invocation;
    const bytes = payload === undefined ? 0 : Buffer.byteLength(JSON.stringify(payload));
    if (bytes > payloadBytesMax) {
      throw new HubError('MessageTooLarge', `The payload has ${bytes} bytes, ${payloadBytesMax} at most are allowed`);
    }
    this.#lastRequest += 1;
    const requestId = this.#lastRequest.toString(16);
    const call = { method, requestId, payload };
    await this.#send(address, call, invocation.connectTimeoutMs);
    const { promise, resolve, reject } = Promise.withResolvers<MethodResult>();
    this.#pending.set(requestId, { address, resolve, reject });
    try {
      return await withDeadline(
        { doing: `wait for the answer of method "${method}"`, timeoutMs: invocation.responseTimeoutMs },
        async () => await promise,
      );
    } catch (error) {
      if (!isFerryError(error, 'TIMEOUT')) throw error;
      throw new HubError('GatewayTimeout', 'Timed out waiting for the response from device.');
    } finally {
      this.#pending.delete(requestId);
      // A rejection that comes after the time-out has nobody to go to.
      promise.catch(() => undefined);
    }
  }

  /** Takes a device's answer. @throws {HubError} IotHubFormatError when it is no JSON */
  answer(answer: {
    readonly address: Address;
    readonly requestId: string;
    readonly status: number;
    readonly body: Buffer;
  }): void {
    const pending = this.#pending.get(answer.requestId);
    // Nobody but the device that was asked may answer.
    if (pending === undefined || addressKey(pending.address) !== addressKey(answer.address)) return;
    if (answer.body.length > payloadBytesMax) throw new HubError('MessageTooLarge', 'The answer is too large');
    pending.resolve({ status: answer.status, payload: readPayload(answer.body) });
  }

  /** Notes that a device now listens for calls, and how they are sent to it. */
  attach(address: Address, send: (call: MethodCall) => void): void {
    this.#listeners.set(addressKey(address), send);
    this.#ready.emit(readyEvent(address));
  }

  /** Notes that a device listens no more; what it was asked it may still answer. */
  detach(address: Address): void {
    this.#listeners.delete(addressKey(address));
  }

  /** Ends the calls of a device that has gone. */
  gone(address: Address): void {
    this.detach(address);
    for (const pending of this.#pending.values()) {
      if (addressKey(pending.address) !== addressKey(address)) continue;
      pending.reject(new HubError('DeviceConnectionClosedRemotely', 'The device closed its connection.'));
    }
  }

  async #send(address: Address, call: MethodCall, timeoutMs: number): Promise<void> {
    const key = addressKey(address);
    if (!this.#listeners.has(key) && timeoutMs > 0) {
      try {
        await withDeadline({ doing: 'wait for the device to connect', timeoutMs }, async (signal) => {
          await once(this.#ready, readyEvent(address), { signal });
        });
      } catch (error) {
        if (!isFerryError(error, 'TIMEOUT')) throw error;
      }
    }
    const send = this.#listeners.get(key);
    if (send === undefined) throw new HubError('DeviceNotOnline', 'Timed out waiting for device to connect.');
    send(call);
  }
}

/** Never the bare id: a device may be called "error". */
function readyEvent(address: Address): string {
  return `ready ${addressKey(address)}`;
}

function readPayload(body: Buffer): Json | undefined {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString('utf8')) as Json;
  } catch {
    throw new HubError('IotHubFormatError', 'The answer is no JSON');
  }
}
