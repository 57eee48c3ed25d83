import type { Duplex } from 'node:stream';
import rhea, { type Connection, type Container, type EventContext, type Receiver, type Sender } from 'rhea';
import type { Logger } from '../../../shared/log.ts';
import { HubError } from '../hub-error.ts';
import type { Access } from '../identity/access.ts';
import type { Permission } from '../identity/policies.ts';
import { takeCommand } from './commands.ts';
import { type EventHub, openEventHub } from './event-hub.ts';
import { guardFrames, limitMessages, limitReader } from './frame-guard.ts';
import { openNoticeLink } from './notices.ts';
import type { AmqpParts } from './parts.ts';

/** Largest AMQP frame and longest silence of a connection. */
const connectionOptions = { max_frame_size: 256 * 1024, idle_time_out: 240_000 } as const;
/** How many messages a sending back end may have on the way. */
const creditWindow = 100;
/** Largest message that is put together; the hub takes 64 KB to a device, and tokens are smaller. */
const messageBytesMax = 256 * 1024;

const addresses = {
  cbs: '$cbs',
  management: '$management',
  commands: '/messages/devicebound',
  feedback: '/messages/servicebound/feedback',
  fileNotifications: '/messages/servicebound/filenotifications',
} as const;

/**
 * Where back ends come in over AMQP 1.0: cloud-to-device messages, their feedback, file notifications, and the built-in
 * endpoint that is read as an Event Hub.
 *
 * Invariants: a link opens only for who has put a token that allows it, and ends with that token; a refused link or message says why.
 */
export class AmqpGateway {
  readonly #parts: AmqpParts;
  readonly #access: Access;
  readonly #log: Logger;
  readonly #eventHub: EventHub;
  readonly #sessions = new Map<Connection, Session>();
  readonly #container = createContainer();

  constructor(options: {
    readonly parts: AmqpParts;
    readonly access: Access;
    readonly log: Logger;
    readonly name: string;
  }) {
    this.#parts = options.parts;
    this.#access = options.access;
    this.#log = options.log;
    this.#eventHub = openEventHub({ events: options.parts.events, name: options.name });
  }

  /** Takes in a stream that speaks AMQP. */
  accept(socket: Duplex): void {
    guardFrames(socket, connectionOptions.max_frame_size);
    const connection = this.#container.create_connection(connectionOptions) as AcceptingConnection;
    limitMessages(connection, messageBytesMax);
    this.#serve(connection);
    connection.accept(socket);
  }

  /** Ends the connections whose token is over. */
  sweep(nowMs: number): void {
    for (const [connection, { expiresMs }] of this.#sessions) {
      if (expiresMs > nowMs) continue;
      this.#sessions.delete(connection);
      connection.close({ condition: 'amqp:unauthorized-access', description: 'The token has expired' });
    }
  }

  #serve(connection: Connection): void {
    const session: Session = { granted: new Set(), expiresMs: Number.POSITIVE_INFINITY };
    const { granted } = session;
    this.#sessions.set(connection, session);
    for (const name of ['disconnected', 'connection_close'])
      connection.on(name, () => void this.#sessions.delete(connection));
    const replies = new Set<Sender>();
    for (const name of [
      'protocol_error',
      'error',
      'connection_error',
      'session_error',
      'sender_error',
      'receiver_error',
    ]) {
      connection.on(name, (context: unknown) => this.#log.debug({ err: context }, 'an AMQP client failed'));
    }
    connection.on('sender_open', ({ sender }: EventContext) => {
      if (sender === undefined) return;
      const address = addressOf(sender.source);
      sender.set_source({ address });
      if (address === addresses.cbs || address === addresses.management) replies.add(sender);
      else if (!granted.has('ServiceConnect'))
        refuseLink(sender, 'amqp:unauthorized-access', 'a token that allows ServiceConnect was wanted');
      else if (address.toLowerCase() === addresses.feedback)
        openNoticeLink(sender, { notices: this.#parts.notices, kind: 'feedback' });
      else if (address.toLowerCase() === addresses.fileNotifications) {
        openNoticeLink(sender, { notices: this.#parts.notices, kind: 'filenotifications' });
      } else if (!this.#eventHub.openReader(sender, address))
        refuseLink(sender, 'amqp:not-found', `there is no "${address}"`);
    });
    connection.on('sender_close', ({ sender }: EventContext) => void (sender === undefined || replies.delete(sender)));
    connection.on('receiver_open', ({ receiver }: EventContext) => {
      if (receiver === undefined) return;
      const address = addressOf(receiver.target);
      receiver.set_target({ address });
      const isOpen = address === addresses.cbs || address === addresses.management;
      if (!isOpen && address.toLowerCase() !== addresses.commands)
        refuseLink(receiver, 'amqp:not-found', `there is no "${address}"`);
      else if (!isOpen && !granted.has('ServiceConnect')) {
        refuseLink(receiver, 'amqp:unauthorized-access', 'a token that allows ServiceConnect was wanted');
      }
    });
    connection.on('message', (context: EventContext) => {
      const address = addressOf(context.receiver?.target);
      const reply = replierOf(context, replies);
      if (address === addresses.cbs) this.#authorize(context, { session, reply });
      else if (address === addresses.management) {
        context.delivery?.accept();
        reply(this.#eventHub.describe(context.message?.application_properties ?? {}));
      } else takeCommand(context, this.#parts);
    });
  }

  #authorize(context: EventContext, { session, reply }: { readonly session: Session; readonly reply: Reply }): void {
    context.delivery?.accept();
    try {
      const { permissions, expiresMs } = this.#access.permissionsOf(String(context.message?.body ?? ''));
      for (const permission of permissions) session.granted.add(permission);
      session.expiresMs = expiresMs;
      reply({ status: 200, description: 'OK', body: undefined });
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      reply({ status: error.status, description: error.message, body: undefined });
    }
  }
}

limitReader();

/** What a connection has put tokens for. */
interface Session {
  readonly granted: Set<Permission>;
  /** When the last token ends, in milliseconds since 1970. */
  expiresMs: number;
}

/** The server side of a connection, which rhea's types leave out. */
interface AcceptingConnection extends Connection {
  accept(socket: Duplex): void;
}

function createContainer(): Container {
  const container = rhea.create_container({ id: 'iot-hub' });
  container.sasl_server_mechanisms.enable_anonymous();
  container.options['receiver_options'] = { autoaccept: false, credit_window: creditWindow };
  return container;
}

/** What a request over AMQP is answered with. */
export interface Result {
  readonly status: number;
  readonly description: string;
  readonly body: unknown;
}

type Reply = (result: Result) => void;

/** Finds the link that answers go out on: the one to the address that the request gives, or else of the same node. */
function replierOf({ message, receiver }: EventContext, replies: ReadonlySet<Sender>): Reply {
  return ({ status, description, body }) => {
    const node = addressOf(receiver?.target);
    const own = [...replies].filter((sender) => addressOf(sender.source) === node);
    const sender = own.find((candidate) => addressOf(candidate.target) === message?.reply_to) ?? own[0];
    sender?.send({
      ...(message?.message_id === undefined ? {} : { correlation_id: message.message_id }),
      application_properties: { 'status-code': status, 'status-description': description },
      body,
    });
  };
}

function addressOf(terminus: { readonly address?: unknown } | undefined): string {
  return typeof terminus?.address === 'string' ? terminus.address : '';
}

function refuseLink(link: Sender | Receiver, condition: string, description: string): void {
  link.close({ condition, description });
}
