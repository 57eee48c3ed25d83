import type { Duplex } from 'node:stream';
import rhea, { type Connection, type EventContext } from 'rhea';

/** Length of `AMQP` with a protocol's id and version, and of a frame's own header. @see AMQP 1.0, 2.2 and 2.3.1 */
const headerBytes = 8;
/** Items that need no bytes of their own, such as nulls, that an array may have. */
const emptyItemsMax = 256;

/**
 * Cuts a stream whose next frame says that it is larger than allowed. rhea would collect what comes until all of the frame is there,
 * up to 4 GB, before it knows who the client is.
 */
export function guardFrames(socket: Duplex, frameBytesMax: number): void {
  let head = Buffer.alloc(0);
  /** What is still to come of the frame that is under way. */
  let restBytes = 0;
  socket.on('data', (chunk: Buffer) => {
    let at = 0;
    while (at < chunk.length) {
      const taken = Math.min(restBytes, chunk.length - at);
      restBytes -= taken;
      at += taken;
      if (restBytes > 0 || at === chunk.length) return;
      const missing = headerBytes - head.length;
      head = Buffer.concat([head, chunk.subarray(at, at + missing)]);
      at += Math.min(missing, chunk.length - at);
      if (head.length < headerBytes) return;
      const size = head.toString('latin1', 0, 4) === 'AMQP' ? headerBytes : head.readUInt32BE();
      head = Buffer.alloc(0);
      if (size < headerBytes || size > frameBytesMax) {
        socket.destroy();
        return;
      }
      restBytes = size - headerBytes;
    }
  });
}

/** What of rhea's reader counts items; its types leave it out. */
interface Reader {
  remaining(): number;
  read_n: (this: Reader, count: number) => unknown[];
  read_array_items: (this: Reader, count: number, type: unknown) => unknown[];
}

/**
 * Makes rhea's reader refuse lists that count more items than bytes are left. It believes the count and makes room first: twelve
 * bytes of a stranger would take all the memory there is.
 */
export function limitReader(): void {
  const { prototype } = (rhea.types as unknown as { readonly Reader: { readonly prototype: Reader } }).Reader;
  const { read_n: readMany, read_array_items: readArray } = prototype;
  prototype.read_n = function readItems(count) {
    check(count, this.remaining());
    return readMany.call(this, count);
  };
  prototype.read_array_items = function readArrayItems(count, type) {
    check(count, Math.max(this.remaining(), emptyItemsMax));
    return readArray.call(this, count, type);
  };
}

/** What of rhea's session takes in transfers; its types leave it out. */
interface Incoming {
  on_transfer: (
    this: Incoming,
    frame: { readonly payload: Uint8Array },
    receiver: { readonly _incomplete?: { readonly data: Uint8Array } },
  ) => void;
}

/**
 * Makes a connection end at a message that is larger than allowed. rhea puts one together of as many transfers as come, before a token
 * too; `max-message-size` only asks the client to keep to it.
 */
export function limitMessages(connection: Connection, messageBytesMax: number): void {
  connection.on('session_open', ({ session }: EventContext) => {
    const { incoming } = session as unknown as { readonly incoming: Incoming };
    const onTransfer = incoming.on_transfer;
    incoming.on_transfer = function takeTransfer(frame, receiver) {
      const bytes = (receiver._incomplete?.data.length ?? 0) + frame.payload.length;
      if (bytes > messageBytesMax) throw new RangeError(`A message has over ${messageBytesMax} bytes`);
      onTransfer.call(this, frame, receiver);
    };
  });
}

function check(count: number, max: number): void {
  if (count > max) throw new RangeError(`${count} items are announced, ${max} at most can be there`);
}
