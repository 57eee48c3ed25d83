import type { measureClockSkew } from '../hub/clock-skew.ts';
import type { OpenSession } from '../hub/hub-session.ts';
import type { UploadDestination } from '../collect/upload-destination.ts';

/** How a light device reaches its hub. Two ship: over MQTT, and through a pipe to a hub that lives in the same virtual time. */
export interface Link {
  readonly openSession: OpenSession;
  readonly destination: UploadDestination;
  readonly measureClockSkew: typeof measureClockSkew;
}

/** What went over links of sessions. */
export class Traffic {
  /** Connections that were tried, and that came about. */
  tries = 0;
  connections = 0;
  /** Patches that the hub has taken, and requests that it had no room for. */
  patches = 0;
  throttled = 0;
  sentBytes = 0;
  receivedBytes = 0;
}

/** Counts what goes over the sessions that are opened. */
export function counted(open: OpenSession, traffic: Traffic): OpenSession {
  return async (...args) => {
    traffic.tries += 1;
    const session = await open(...args);
    traffic.connections += 1;
    const noteOverload = (error: unknown): never => {
      if (error instanceof Error && 'code' in error && error.code === 'OVERLOADED') traffic.throttled += 1;
      throw error;
    };
    return {
      readTwin: async (signal) => {
        const twin = await session.readTwin(signal).catch(noteOverload);
        traffic.receivedBytes += JSON.stringify(twin).length;
        return twin;
      },
      patchReported: async (patch, signal) => {
        await session.patchReported(patch, signal).catch(noteOverload);
        traffic.patches += 1;
        traffic.sentBytes += JSON.stringify(patch).length;
      },
      [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
    };
  };
}
