import type { Duplex } from 'node:stream';
import { type IConnectPacket, type Packet, generate, parser as createParser } from 'mqtt-packet';
import type { Clock } from '../../../shared/clock.ts';
import type { Logger } from '../../../shared/log.ts';
import { HubError } from '../hub-error.ts';
import type { Access, Admission } from '../identity/access.ts';
import { type Address, addressKey } from '../identity/identity.ts';
import type { Message } from '../message.ts';
import { Connection, type DeviceServices } from './connection.ts';
import { Framing, FramingError } from './framing.ts';
import { readBag } from './property-bag.ts';
import { readTopic } from './topics.ts';
import { type ParsedUsername, parseUsername } from './username.ts';

/** How long a client may take from the TLS handshake to its CONNECT. */
const connectTimeoutMs = 30_000;
/** The hub cuts a silent client after 1.5 times its keep-alive, but never later than this. */
const silenceMaxMs = 1_767_000;

/** Longest model id. @see https://learn.microsoft.com/azure/digital-twins/concepts-models: 2,048 characters of a DTMI */
const modelIdCharsMax = 2048;

/** CONNACK return codes. @see MQTT 3.1.1, table 3.1 */
const returnCodes = {
  accepted: 0,
  unacceptableProtocol: 1,
  identifierRejected: 2,
  unavailable: 3,
  badCredentials: 4,
  notAuthorized: 5,
} as const;

type Refusal = Exclude<keyof typeof returnCodes, 'accepted'>;

/**
 * Where devices and modules come in over MQTT 3.1.1.
 *
 * Invariants: there is one connection a device or module, a new one takes over; nobody is connected longer than its
 * credentials last, or than its keep-alive allows.
 */
export class MqttGateway {
  readonly #services: DeviceServices;
  readonly #access: Access;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #isHubHost: (host: string) => boolean;
  /** How often each client has connected. */
  readonly connectCounts = new Map<string, number>();
  readonly #connections = new Map<string, Connection>();

  constructor(options: {
    readonly services: DeviceServices;
    readonly access: Access;
    readonly clock: Clock;
    readonly log: Logger;
    readonly isHubHost: (host: string) => boolean;
  }) {
    this.#services = options.services;
    this.#access = options.access;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#isHubHost = options.isHubHost;
  }

  /** Says whether a client is connected. @param key as {@link addressKey} gives it */
  isConnected(key: string): boolean {
    return this.#connections.has(key);
  }

  connectionOf(address: Address): Connection | undefined {
    return this.#connections.get(addressKey(address));
  }

  /** Takes in a stream that speaks MQTT. @param certificate what the TLS client showed (DER) */
  accept(socket: Duplex, certificate: Buffer | undefined): void {
    if (this.#services.faults.isRefusing) {
      socket.destroy();
      return;
    }
    const framing = new Framing();
    const parser = createParser({ protocolVersion: 4 });
    let connection: Connection | undefined;
    const patience = setTimeout(() => socket.destroy(), connectTimeoutMs);
    parser.on('error', () => socket.destroy());
    parser.on('packet', (packet: Packet) => {
      if (connection !== undefined) connection.handle(packet);
      else if (packet.cmd === 'connect') {
        clearTimeout(patience);
        connection = this.#connect(packet, { socket, certificate });
      } else socket.destroy();
    });
    socket.on('data', (chunk: Buffer) => {
      if (connection !== undefined) connection.lastPacketMs = this.#clock.monotonicMs();
      const { delayMs } = this.#services.faults;
      if (delayMs === 0) return take(chunk);
      // Paused, so that what follows stays behind it.
      socket.pause();
      setTimeout(() => {
        take(chunk);
        socket.resume();
      }, delayMs);
      return undefined;
    });
    const take = (chunk: Buffer): void => {
      try {
        for (const frame of framing.push(chunk)) {
          if (socket.destroyed) return;
          parser.parse(frame);
        }
      } catch (error) {
        // mqtt-packet throws on a few malformed packets where it should report them.
        if (!(error instanceof FramingError) && !(error instanceof RangeError)) {
          this.#log.warn({ err: error }, 'a packet could not be handled');
        }
        socket.destroy();
      }
    };
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(patience);
      if (connection !== undefined) this.#ended(connection);
    });
  }

  /** Cuts who is silent for too long or whose credentials are over. */
  sweep(): void {
    const now = this.#clock.nowMs();
    const monotonic = this.#clock.monotonicMs();
    for (const connection of this.#connections.values()) {
      const isSilent = monotonic - connection.lastPacketMs > connection.silenceMaxMs;
      if (isSilent || connection.admission.expiresMs <= now) connection.close();
    }
  }

  /** Cuts a device with all its modules, or one module. */
  drop(address: Address): void {
    for (const connection of this.#connections.values()) {
      const { deviceId, moduleId } = connection.address;
      if (deviceId === address.deviceId && (address.moduleId === undefined || moduleId === address.moduleId)) {
        connection.close();
      }
    }
  }

  /** Makes the tokens of a device and its modules count as expired, as they are now, and cuts who came in with them. */
  expireTokens(deviceId: string): void {
    for (const connection of this.#connections.values()) {
      if (connection.address.deviceId !== deviceId) continue;
      this.#access.expireTokens(deviceId, connection.admission.expiresMs);
      connection.close();
    }
  }

  dropAll(): void {
    for (const connection of this.#connections.values()) connection.close();
  }

  #connect(
    packet: IConnectPacket,
    peer: { readonly socket: Duplex; readonly certificate: Buffer | undefined },
  ): Connection | undefined {
    const { socket } = peer;
    const claim = this.#admit(packet, peer.certificate);
    if ('refusal' in claim) {
      socket.end(generate({ cmd: 'connack', returnCode: returnCodes[claim.refusal], sessionPresent: false }));
      return undefined;
    }
    const { admission, username } = claim;
    const { address } = username;
    const key = addressKey(address);
    const clean = packet.clean === true;
    this.#takeOver(key);
    const { session, isPresent } = this.#services.sessions.open(key, clean);
    const keepaliveMs = (packet.keepalive ?? 0) * 1500;
    const connection = new Connection({
      socket,
      address,
      admission,
      session,
      clean,
      will: claim.will,
      silenceMaxMs: keepaliveMs === 0 ? silenceMaxMs : Math.min(keepaliveMs, silenceMaxMs),
      nowMs: this.#clock.monotonicMs(),
      services: this.#services,
    });
    this.#connections.set(key, connection);
    this.connectCounts.set(key, (this.connectCounts.get(key) ?? 0) + 1);
    this.#services.presence.set(address, 'Connected');
    if (username.modelId !== undefined)
      this.#services.twins.setModel(address, username.modelId.slice(0, modelIdCharsMax));
    socket.write(generate({ cmd: 'connack', returnCode: returnCodes.accepted, sessionPresent: isPresent }));
    connection.subscribed();
    return connection;
  }

  #admit(
    packet: IConnectPacket,
    certificate: Buffer | undefined,
  ):
    | { readonly refusal: Refusal }
    | { readonly admission: Admission; readonly username: ParsedUsername; readonly will: Message | undefined } {
    if (packet.protocolVersion !== 4) return { refusal: 'unacceptableProtocol' };
    if (this.#services.faults.isOut || !this.#services.throttles.lets('connections')) return { refusal: 'unavailable' };
    const username = parseUsername(packet.username ?? '');
    if (username === undefined || !this.#isHubHost(username.host)) return { refusal: 'notAuthorized' };
    if (packet.clientId !== addressKey(username.address)) return { refusal: 'identifierRejected' };
    const will = readWill(packet, username.address);
    if (will === 'invalid') return { refusal: 'notAuthorized' };
    try {
      const sas = packet.password === undefined ? undefined : packet.password.toString('utf8');
      return {
        admission: this.#access.admit(username.address, { sas: sas === '' ? undefined : sas, certificate }),
        username,
        will,
      };
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      this.#log.info({ client: packet.clientId, reason: error.message }, 'a client was refused');
      return { refusal: error.errorName === 'IotHubUnauthorizedAccess' ? 'badCredentials' : 'notAuthorized' };
    }
  }

  /** 400027 ConnectionForcefullyClosedOnNewConnection: the old connection goes, and all it held is free at once. */
  #takeOver(key: string): void {
    const old = this.#connections.get(key);
    if (old === undefined) return;
    this.#ended(old);
    old.close();
  }

  #ended(connection: Connection): void {
    const key = addressKey(connection.address);
    if (this.#connections.get(key) !== connection) return;
    this.#connections.delete(key);
    if (this.#services.registry.find(connection.address) !== undefined) {
      this.#services.presence.set(connection.address, 'Disconnected');
    }
    connection.ended();
    this.#services.methods.gone(connection.address);
  }
}

function readWill(packet: IConnectPacket, address: Address): Message | undefined | 'invalid' {
  if (packet.will === undefined) return undefined;
  const { topic, payload } = packet.will;
  const publication = packet.will.qos === 2 ? undefined : readTopic(topic, address);
  if (publication?.kind !== 'telemetry') return 'invalid';
  try {
    const { system, properties } = readBag(publication.bag);
    return { system, properties: { ...properties, 'iothub-MessageType': 'Will' }, body: Buffer.from(payload) };
  } catch {
    return 'invalid';
  }
}
