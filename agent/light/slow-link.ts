import type { HubLink, SessionHandlers } from '../hub/hub-session.ts';
import type { LightNetwork } from './light-network.ts';
import type { Link } from './link.ts';

/** Round trips until a session is open: TCP, TLS 1.3, and MQTT's CONNECT (RFC 9293 3.5, RFC 8446 2, [MQTT-3.1.4-4]). */
const openingTrips = 3;
/** Round trips of an upload beside its bytes: the hub is asked for an address, and told how it went. */
const uploadTrips = 2;

/** Makes a link as slow as a network is: what goes over it is late by as much, or does not arrive, before it goes over the real one. */
export function slowed(link: Link, network: LightNetwork): Link {
  const trips = async (count: number): Promise<void> => {
    for (let trip = 0; trip < count * 2; trip += 1) await network.carry(0);
  };
  return {
    openSession: async (identity, handlers, signal) => {
      await trips(openingTrips);
      return slowedSession(await link.openSession(identity, slowedHandlers(handlers, network), signal), network);
    },
    measureClockSkew: async (address, signal) => {
      await network.carry(0);
      return link.measureClockSkew(address, signal);
    },
    destination: {
      upload: async (blob, signal) => {
        await trips(uploadTrips);
        await network.carry(blob.content.byteLength);
        await link.destination.upload(blob, signal);
      },
    },
  };
}

/** A change is heard of later; what is lost on the way is seen by the twin that is read at the next connection. */
function slowedHandlers(handlers: SessionHandlers, network: LightNetwork): SessionHandlers {
  return { ...handlers, onChanged: () => void network.carry(0).then(handlers.onChanged, () => undefined) };
}

function slowedSession(session: HubLink, network: LightNetwork): HubLink {
  return {
    readTwin: async (signal) => {
      await network.carry(0);
      const twin = await session.readTwin(signal);
      await network.carry(JSON.stringify(twin).length);
      return twin;
    },
    patchReported: async (patch, signal) => {
      await network.carry(JSON.stringify(patch).length);
      await session.patchReported(patch, signal);
      await network.carry(0);
    },
    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}
