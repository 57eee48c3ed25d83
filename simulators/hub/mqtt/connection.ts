import type { Duplex } from 'node:stream';
import {
  type IPublishPacket,
  type ISubscribePacket,
  type IUnsubscribePacket,
  type Packet,
  generate,
} from 'mqtt-packet';
import type { Commands } from '../commands.ts';
import type { EventLog } from '../events.ts';
import type { Faults } from '../faults.ts';
import { HubError } from '../hub-error.ts';
import type { Admission } from '../identity/access.ts';
import type { Address } from '../identity/identity.ts';
import type { Presence } from '../identity/presence.ts';
import type { Registry } from '../identity/registry.ts';
import type { JsonObject } from '../json.ts';
import { type Message, type Sender, deviceMessageBytesMax, sizeOf } from '../message.ts';
import type { MethodCall, Methods } from '../methods.ts';
import type { Throttled, Throttles } from '../throttles.ts';
import { type Twins, readObject } from '../twins/twins.ts';
import { Deliveries } from './deliveries.ts';
import { readBag, writeBag } from './property-bag.ts';
import type { Session, Sessions } from './sessions.ts';
import { Subscriptions } from './subscriptions.ts';
import {
  type Publication,
  type Subscription,
  commandTopic,
  desiredTopic,
  methodTopic,
  readTopic,
  twinResponseTopic,
} from './topics.ts';
import { errorBody, twinBody } from './twin-bodies.ts';

/** The parts of the hub that a connection works with. */
export interface DeviceServices {
  readonly registry: Registry;
  readonly twins: Twins;
  readonly events: EventLog;
  readonly commands: Commands;
  readonly methods: Methods;
  readonly presence: Presence;
  readonly sessions: Sessions;
  readonly faults: Faults;
  readonly throttles: Throttles;
}

/** A client that lets this much pile up unread is cut off, in bytes. */
const unsentBytesMax = 4 * 1024 * 1024;

/** A client that has connected: what it sends is acted on, what happens is sent to it. */
export class Connection {
  readonly address: Address;
  readonly admission: Admission;
  /** When something last came from the client, in the clock's monotonic milliseconds. */
  lastPacketMs: number;
  /** Silence after which the client counts as gone. */
  readonly silenceMaxMs: number;
  readonly #socket: Duplex;
  readonly #services: DeviceServices;
  readonly #subscriptions: Subscriptions;
  readonly #deliveries: Deliveries;
  #lastPacketId = 0;
  #will: Message | undefined;

  constructor(options: {
    readonly socket: Duplex;
    readonly address: Address;
    readonly admission: Admission;
    readonly session: Session;
    readonly clean: boolean;
    readonly will: Message | undefined;
    readonly silenceMaxMs: number;
    readonly nowMs: number;
    readonly services: DeviceServices;
  }) {
    this.#socket = options.socket;
    this.address = options.address;
    this.admission = options.admission;
    this.#will = options.will;
    this.silenceMaxMs = options.silenceMaxMs;
    this.lastPacketMs = options.nowMs;
    this.#services = options.services;
    this.#deliveries = new Deliveries(options.services.commands);
    this.#subscriptions = new Subscriptions({ ...options, sessions: options.services.sessions });
  }

  has(subscription: Subscription): boolean {
    return this.#subscriptions.has(subscription);
  }

  /** Acts on a packet. What the hub does not allow ends the connection: MQTT 3.1.1 has no way to say why. */
  handle(packet: Packet): void {
    switch (packet.cmd) {
      case 'publish':
        this.#onPublish(packet);
        break;
      case 'puback':
        this.#onPuback(packet.messageId ?? 0);
        break;
      case 'subscribe':
        this.#onSubscribe(packet);
        break;
      case 'unsubscribe':
        this.#onUnsubscribe(packet);
        break;
      case 'pingreq':
        this.#send({ cmd: 'pingresp' });
        break;
      case 'disconnect':
        // [MQTT-3.14.4-3] The will is discarded.
        this.#will = undefined;
        this.close();
        break;
      // QoS 2 is not offered, a second CONNECT is a violation, and the rest is what servers send.
      case 'connect':
      case 'connack':
      case 'auth':
      case 'pubrec':
      case 'pubrel':
      case 'pubcomp':
      case 'suback':
      case 'unsuback':
      case 'pingresp':
        this.close();
        break;
      default:
        packet satisfies never;
    }
  }

  /** Cuts the connection. */
  close(): void {
    this.#socket.destroy();
  }

  /** Settles what was under way when the connection has ended. */
  ended(): void {
    this.#deliveries.abandon();
    if (this.#will !== undefined) this.#store(this.#will);
  }

  sendDesired(patch: JsonObject, version: number): void {
    if (!this.has('desired')) return;
    this.#publish('desired', desiredTopic(version), JSON.stringify({ ...patch, $version: version }));
  }

  /** Sends what waits for the device, as far as it acknowledges. */
  sendCommands(): void {
    const qos = this.#subscriptions.qosOf('commands');
    if (qos === undefined || this.address.moduleId !== undefined) return;
    const { deviceId } = this.address;
    const next = () => this.#deliveries.begin(deviceId, () => this.#nextPacketId());
    for (let sent = next(); sent !== undefined; sent = next()) {
      const { packetId: messageId, command } = sent;
      const { message } = command;
      const system = { to: `/devices/${deviceId}/messages/devicebound`, ...message.system };
      const topic = commandTopic(deviceId, writeBag({ system, properties: message.properties }));
      const dup = qos === 1 && command.deliveryCount > 1;
      this.#send({ cmd: 'publish', topic, payload: message.body, qos, dup, retain: false, messageId });
      // Quality of service 0 asks for no acknowledgement: what is sent is done.
      if (qos === 0) this.#deliveries.end(messageId);
    }
  }

  #onPublish(packet: IPublishPacket): void {
    const publication = packet.qos === 2 ? undefined : readTopic(packet.topic, this.address);
    if (publication === undefined) return this.close();
    const body = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
    this.#services.presence.touch(this.address);
    try {
      this.#act(publication, { body, retain: packet.retain, dup: packet.dup });
    } catch (error) {
      // Telemetry and answers have no way back for an error; damaged encodings of the topic are URIErrors.
      if (!(error instanceof HubError) && !(error instanceof URIError)) throw error;
      return this.close();
    }
    if (packet.qos === 1 && !this.#services.faults.losesPuback()) {
      this.#send({ cmd: 'puback', messageId: packet.messageId ?? 0 });
    }
    return undefined;
  }

  #act(
    publication: Publication,
    sent: { readonly body: Buffer; readonly retain: boolean; readonly dup: boolean },
  ): void {
    switch (publication.kind) {
      case 'telemetry': {
        const { system, properties } = readBag(publication.bag);
        const marks = {
          ...(sent.retain ? { 'mqtt-retain': 'true' } : {}),
          ...(sent.dup ? { 'mqtt-dup': 'true' } : {}),
        };
        return this.#store({ system, properties: { ...properties, ...marks }, body: sent.body });
      }
      case 'twin-get':
        return this.#answerTwin(publication.requestId, 'twin reads', () => ({
          status: 200,
          body: twinBody(this.#services.registry.at(this.address).twin),
        }));
      case 'twin-report':
        return this.#answerTwin(publication.requestId, 'twin updates', () => {
          const patch = readObject(sent.body, 'patch of reported properties');
          const version = this.#services.twins.report(this.address, patch, publication.version);
          return { status: 204, body: '', version };
        });
      case 'method-response': {
        const { requestId, status } = publication;
        return this.#services.methods.answer({ address: this.address, requestId, status, body: sent.body });
      }
      default:
        return publication satisfies never;
    }
  }

  #store(message: Message): void {
    const bytes = sizeOf(message);
    if (bytes > deviceMessageBytesMax) throw new HubError('MessageTooLarge', `${bytes} bytes`);
    this.#services.events.append(this.#sender(), message);
  }

  #sender(): Sender {
    const record = this.#services.registry.find(this.address);
    return {
      address: this.address,
      generationId: record?.identity.generationId ?? '',
      authMethod: this.admission.method,
    };
  }

  #answerTwin(
    requestId: string,
    kind: Throttled,
    work: () => { readonly status: number; readonly body: string; readonly version?: number },
  ): void {
    try {
      this.#services.faults.check();
      this.#services.throttles.check(kind);
      const { status, body, version } = work();
      this.#publish('twin-responses', twinResponseTopic(status, requestId, version), body);
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      this.#publish('twin-responses', twinResponseTopic(error.status, requestId), errorBody(error));
    }
  }

  #onSubscribe(packet: ISubscribePacket): void {
    const granted = this.#subscriptions.add(packet);
    this.#send({ cmd: 'suback', messageId: packet.messageId ?? 0, granted });
    this.subscribed();
  }

  /** Tells who waits for this client that it now listens. */
  subscribed(): void {
    this.sendCommands();
    if (this.has('methods')) this.#services.methods.attach(this.address, (call) => this.#sendMethod(call));
  }

  #onUnsubscribe(packet: IUnsubscribePacket): void {
    this.#subscriptions.remove(packet);
    if (!this.has('methods')) this.#services.methods.detach(this.address);
    this.#send({ cmd: 'unsuback', messageId: packet.messageId ?? 0, granted: [] });
  }

  #onPuback(packetId: number): void {
    if (this.#deliveries.end(packetId)) this.sendCommands();
  }

  /** A call without a payload goes out as `null`: the SDK fails at an empty body. */
  #sendMethod(call: MethodCall): void {
    this.#publish('methods', methodTopic(call.method, call.requestId), JSON.stringify(call.payload ?? null));
  }

  #publish(subscription: Subscription, topic: string, payload: string): void {
    const qos = this.#subscriptions.qosOf(subscription);
    if (qos === undefined) return;
    // An acknowledgement of these changes nothing: they are not stored, so they are never sent again.
    this.#send({ cmd: 'publish', topic, payload, qos, dup: false, retain: false, messageId: this.#nextPacketId() });
  }

  #nextPacketId(): number {
    do this.#lastPacketId = (this.#lastPacketId % 0xffff) + 1;
    while (this.#deliveries.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  #send(packet: Packet): void {
    if (this.#socket.destroyed) return;
    if (this.#socket.writableLength > unsentBytesMax) this.close();
    else this.#socket.write(generate(packet));
  }
}
