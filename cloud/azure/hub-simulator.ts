import { z } from 'zod';
import { withDeadline } from '../../shared/deadline.ts';
import { parseServiceConnectionString } from '../../shared/edge/connection-string.ts';
import { FerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { hubFailure } from './hub-failure.ts';
import { type HubTransport, openHubTransport } from './hub-transport.ts';

/** How long one call may take, in milliseconds. */
const callTimeoutMs = 20_000;

/** What can be made to go wrong in a simulated hub. @see simulators/hub/README.md#faults */
const faultsSchema = z.object({
  refuseConnections: z.boolean(),
  delayMs: z.number(),
  losePubacks: z.number(),
  throttleRequests: z.number(),
  failRequests: z.number(),
  clockSkewMs: z.number(),
  outageMs: z.number(),
});

/** The faults of a simulated hub; counts and times are what is left of them. */
export type Faults = z.infer<typeof faultsSchema>;

interface Call<T> {
  readonly doing: string;
  readonly method: 'GET' | 'PATCH' | 'POST' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly schema: z.ZodType<T>;
}

/** The control interface of a simulated IoT Hub: what only a simulator has. Failures are as those of `HubClient`. */
export class HubSimulator implements Disposable {
  readonly hostName: string;
  readonly #transport: HubTransport;
  readonly #signal: AbortSignal;

  private constructor(connectionString: string, signal: AbortSignal) {
    const parts = parseServiceConnectionString(connectionString);
    this.hostName = parts.hostName;
    this.#transport = openHubTransport(parts);
    this.#signal = signal;
  }

  /**
   * Makes the client of the simulator that the workspace has for its hub.
   * @throws {FerryError} ENDPOINT_MISSING when the workspace has no hub
   */
  static async open(workspace: Workspace, signal: AbortSignal): Promise<HubSimulator> {
    const { hubConnectionString } = await workspace.secrets();
    if (hubConnectionString !== undefined) return new HubSimulator(hubConnectionString, signal);
    throw new FerryError('ENDPOINT_MISSING', 'Cannot reach the simulator: the workspace has no IoT Hub', {
      next: 'Start the local one with `ferry up`, or with `ferry up --only hub`.',
    });
  }

  async readFaults(): Promise<Faults> {
    return await this.#call({ doing: 'show the faults', method: 'GET', path: '/faults', schema: faultsSchema });
  }

  /** Sets the faults that are named; the others stay. Gives all. */
  async setFaults(change: Partial<Faults>): Promise<Faults> {
    const call = { doing: 'set the faults', path: '/faults', body: change, schema: faultsSchema };
    return await this.#call({ ...call, method: 'PATCH' });
  }

  /** Switches all faults off. */
  async clearFaults(): Promise<Faults> {
    return await this.#call({ doing: 'clear the faults', method: 'DELETE', path: '/faults', schema: faultsSchema });
  }

  /** Cuts the connections of a device and its modules. @throws {FerryError} DEVICE_NOT_FOUND */
  async dropDevice(deviceId: string): Promise<void> {
    await this.#actOn(deviceId, { verb: 'drop', doing: `drop the device "${deviceId}"` });
  }

  /** Makes the tokens that a device is connected with count as expired. @throws {FerryError} DEVICE_NOT_FOUND */
  async expireDevice(deviceId: string): Promise<void> {
    await this.#actOn(deviceId, { verb: 'expire', doing: `expire the token of the device "${deviceId}"` });
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  async #actOn(deviceId: string, { verb, doing }: { readonly verb: string; readonly doing: string }): Promise<void> {
    const path = `/devices/${encodeURIComponent(deviceId)}/${verb}`;
    await this.#call({ doing, method: 'POST', path, schema: z.unknown() });
  }

  async #call<T>({ doing, method, path, body, schema }: Call<T>): Promise<T> {
    const deadline = { doing: `reach the hub ${this.hostName}`, timeoutMs: callTimeoutMs, signal: this.#signal };
    const headers = { 'Content-Type': 'application/json; charset=utf-8' };
    const answer = await withDeadline(deadline, async () => {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      // The SDK's types say that there is always an error.
      this.#transport.rest.executeApiCall(method, `/_sim${path}`, headers, body, (error: Error | null, found) => {
        if (error === null) resolve(found);
        else reject(error);
      });
      return await promise;
    }).catch((error: unknown) => {
      this.#signal.throwIfAborted();
      throw hubFailure(error, { doing, hostName: this.hostName, known: { 404: 'DEVICE_NOT_FOUND' } });
    });
    const parsed = schema.safeParse(answer);
    if (parsed.success) return parsed.data;
    throw new FerryError(
      'HUB_REFUSED',
      `Cannot ${doing}: the hub ${this.hostName} answered as no simulator does, one was wanted`,
      { next: 'Only the simulator that `ferry up` starts has faults.' },
    );
  }
}
