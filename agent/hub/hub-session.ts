import type { Agent } from 'node:https';
import type { DeviceMethodRequest, DeviceMethodResponse, ModuleClient, Twin } from 'azure-iot-device';
import { withDeadline } from '../../shared/deadline.ts';
import { FerryError } from '../../shared/errors.ts';
import { loadDeviceSdk } from './device-sdk.ts';
import type { JsonObject } from '../report.ts';

/** The two halves of the twin as they are in the hub. */
export interface TwinState {
  /** With its `$version`. */
  readonly desired: unknown;
  readonly reported: JsonObject;
}

/** Who signs in, by what clock. */
export interface HubIdentity {
  /** Of the module. */
  readonly connectionString: string;
  /** How far this machine's clock is behind the hub's, in milliseconds. */
  readonly clockBehindMs: number;
  /** What WebSockets go over, where MQTT itself is not let through. */
  readonly webSocket: Agent | undefined;
}

/** A connection to the hub as `$edgeAgent`; what is thrown says that it is of no more use, but for OVERLOADED. */
export interface HubLink extends AsyncDisposable {
  /** Reads the twin from the hub. @throws {FerryError} OVERLOADED when the hub has too much to do */
  readTwin(signal: AbortSignal): Promise<TwinState>;
  /**
   * Sends a patch of the reported properties, and comes back when the hub has taken it.
   * @throws {FerryError} OVERLOADED when the hub has too much to do
   */
  patchReported(patch: JsonObject, signal: AbortSignal): Promise<void>;
}

/** Opens a connection to the hub. */
export type OpenSession = (identity: HubIdentity, handlers: SessionHandlers, signal: AbortSignal) => Promise<HubLink>;

/** What is done with what the hub sends. Handlers only note it. */
export interface SessionHandlers {
  /** Desired properties have changed, or may have. */
  readonly onChanged: () => void;
  /** The connection is gone for good: this session is over. */
  readonly onLost: (error: Error) => void;
  readonly onMethod: (request: DeviceMethodRequest, response: DeviceMethodResponse) => void;
}

/** How long connecting may take, in milliseconds; the SDK gives the handshake 60 s. */
const openTimeoutMs = 70_000;
/** How long one answer of the hub may take, in milliseconds. The SDK waits for ever. */
const answerTimeoutMs = 30_000;
/** How long signing off may take, in milliseconds. */
const closeTimeoutMs = 3_000;

/** For how long a token is good, and how long before its end it is renewed, in seconds (the SDK's own). */
const tokenSeconds = { valid: 3600, margin: 900 } as const;

/**
 * One connection to the hub as the module `$edgeAgent`, by the real device SDK. It is used until it breaks and then thrown away: the SDK's own
 * reconnecting forgets subscriptions and does not read the twin again. Only the renewal of the token, for which the SDK drops and
 * takes up the connection every 45 minutes, happens within one session; the twin is read again after it.
 */
export class HubSession implements HubLink {
  readonly #client: ModuleClient;
  readonly #twin: Twin;

  private constructor(client: ModuleClient, twin: Twin) {
    this.#client = client;
    this.#twin = twin;
  }

  /** Connects and subscribes to all that the agent needs. Throws what the SDK throws. */
  static async open(identity: HubIdentity, handlers: SessionHandlers, signal: AbortSignal): Promise<HubSession> {
    const { connectModule, anyMethod } = await loadDeviceSdk();
    const { webSocket } = identity;
    const client = connectModule(identity.connectionString, webSocket !== undefined);
    try {
      // All at once: what is set later takes the place of what was set before.
      await client.setOptions({
        tokenRenewal: tokenTimes(identity.clockBehindMs),
        ...(webSocket === undefined ? {} : { mqtt: { webSocketAgent: webSocket } }),
      });
      await withDeadline({ doing: 'connect to the hub', timeoutMs: openTimeoutMs, signal }, () => client.open());
      const twin = await withDeadline({ doing: 'read the twin', timeoutMs: answerTimeoutMs, signal }, () =>
        client.getTwin(),
      );
      client.on('disconnect', (reason: unknown) => {
        handlers.onLost(reason instanceof Error ? reason : new Error('the connection was closed'));
      });
      client.on('error', handlers.onLost);
      client.on('connect', handlers.onChanged);
      twin.on('error', handlers.onLost);
      // A patch that the SDK merged into its copy may be wrong where there are arrays, so it only says that there is one. The
      // SDK also calls this after each read of the whole, with the whole, and once because this was set, with what it had then.
      const before: unknown = twin.properties.desired;
      twin.on('properties.desired', (patch: unknown) => {
        if (patch !== before && patch !== twin.properties.desired) handlers.onChanged();
      });
      client.onMethod(anyMethod, (request, response) => {
        if (request !== undefined && response !== undefined) handlers.onMethod(request, response);
      });
      return new HubSession(client, twin);
    } catch (error) {
      await close(client);
      throw error;
    }
  }

  async readTwin(signal: AbortSignal): Promise<TwinState> {
    const deadline = { doing: 'read the twin', timeoutMs: answerTimeoutMs, signal };
    await withDeadline(deadline, () => this.#client.getTwin()).catch(throwOverload);
    const { desired, reported } = this.#twin.properties;
    // What the SDK adds and what the hub keeps for itself is no part of what was reported.
    const rest = Object.fromEntries(
      Object.entries(reported).filter(([name]) => !['update', '$version', '$metadata'].includes(name)),
    );
    return { desired: structuredClone(desired), reported: structuredClone(rest) };
  }

  async patchReported(patch: JsonObject, signal: AbortSignal): Promise<void> {
    await withDeadline({ doing: 'report to the hub', timeoutMs: answerTimeoutMs, signal }, () => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#twin.properties.reported['update'](patch, (error: Error | null | undefined) => {
        if (error) reject(error);
        else resolve();
      });
      return promise;
    }).catch(throwOverload);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.removeAllListeners();
    this.#twin.removeAllListeners();
    // A late failure of a connection that is thrown away means nothing any more, but without a listener it would end the program.
    this.#client.on('error', () => undefined);
    this.#twin.on('error', () => undefined);
    await close(this.#client);
  }
}

/**
 * Gives a refusal that is no more than a request to come later (429) a code of its own; the connection stays. Of the hub's answer the SDK
 * leaves nothing but the text.
 */
function throwOverload(error: unknown): never {
  if (!(error instanceof Error) || !/throttl/i.test(`${error.name} ${error.message}`)) throw error;
  throw new FerryError('OVERLOADED', 'Cannot go on at the hub: it is throttling requests', { cause: error });
}

/** Says how tokens are made: by a clock that is behind, one has to be good for as much longer, or it has ended before it begins. */
function tokenTimes(clockBehindMs: number): {
  readonly tokenValidTimeInSeconds: number;
  readonly tokenRenewalMarginInSeconds: number;
} {
  const behindSeconds = Math.max(0, Math.ceil(clockBehindMs / 1000));
  return {
    tokenValidTimeInSeconds: tokenSeconds.valid + behindSeconds,
    tokenRenewalMarginInSeconds: tokenSeconds.margin + behindSeconds,
  };
}

async function close(client: ModuleClient): Promise<void> {
  const deadline = { doing: 'sign off from the hub', timeoutMs: closeTimeoutMs };
  await withDeadline(deadline, () => client.close()).catch(() => undefined);
}
