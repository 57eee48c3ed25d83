/** How the length of a message's body is told (RFC 9112, 6.3). */
export type BodyFraming =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' }
  /** Until the connection ends; answers only. */
  | { readonly kind: 'close' };

/** What has to be known of a request to hand it on. */
export interface RequestHead {
  /** The head as it goes to a replica, with its empty line: without what is about the client's connection. Absent where it stays as it is. */
  readonly rewritten: Buffer | undefined;
  readonly framing: BodyFraming;
  /** Whether its answer has no body whatever it says. */
  readonly isHead: boolean;
  /** Whether the client's connection ends after the answer. */
  readonly closes: boolean;
}

/** What has to be known of an answer to hand it on. */
export interface ResponseHead {
  readonly status: number;
  readonly framing: BodyFraming;
  /** Whether the replica ends the connection after it. */
  readonly closes: boolean;
}

/** A head that is not handed on, and the status to refuse it with. */
export interface RefusedHead {
  readonly refused: number;
  readonly because: string;
}

const requestLine = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+ \S+ HTTP\/1\.([01])\r\n/;
const statusLine = /^HTTP\/1\.([01]) (\d{3})/;
/** A line that a server may read otherwise than we do; that is how requests are smuggled (RFC 9112, 11.2). */
const ambiguousLine = /(?:^|[^\r])\n|\r(?!\n)|\r\n[ \t]|\r\n[^:\r\n]*[ \t]:|\0/;

/**
 * Reads the head of a request. What could be read in two ways is refused.
 * @param text the head with its empty line, as latin1
 */
export function readRequestHead(text: string): RequestHead | RefusedHead {
  const [, minor] = requestLine.exec(text) ?? [];
  if (minor === undefined) return { refused: 400, because: 'it is no HTTP/1.1 request' };
  if (ambiguousLine.test(text)) return { refused: 400, because: 'its head has a line that is not well formed' };
  const fields = readFields(text);
  if (fields === undefined) return { refused: 400, because: 'the length of its body is told in two ways' };
  const { length, chunked, connection, upgrade } = fields;
  if (upgrade) return { refused: 501, because: 'it asks for another protocol' };
  if (minor === '0' && chunked) return { refused: 400, because: 'it is HTTP/1.0 with a chunked body' };
  const framing: BodyFraming = chunked
    ? { kind: 'chunked' }
    : length === undefined || length === 0
      ? { kind: 'none' }
      : { kind: 'length', bytes: length };
  // The connections of replicas are ours to keep, and theirs are answers of HTTP/1.1.
  const kept = connection === undefined ? text : text.replaceAll(/\r\nconnection:[^\r]*/gi, '');
  const sent = minor === '1' ? kept : asNewer(kept);
  return {
    rewritten: sent === text ? undefined : Buffer.from(sent, 'latin1'),
    framing,
    isHead: text.startsWith('HEAD '),
    closes: connection === 'close' || (minor === '0' && connection !== 'keep-alive'),
  };
}

/** Writes a head of HTTP/1.0 as one of HTTP/1.1, where a host has to be named (RFC 9112, 3.2). */
function asNewer(text: string): string {
  const host = /\r\nhost:/i.test(text) ? '' : 'host: service\r\n';
  return text.replace(/ HTTP\/1\.0\r\n/, ` HTTP/1.1\r\n${host}`);
}

/** Reads the head of an answer; undefined when it is none. */
export function readResponseHead(text: string, isHead: boolean): ResponseHead | undefined {
  const [, minor, code] = statusLine.exec(text) ?? [];
  const fields = readFields(text);
  if (code === undefined || fields === undefined) return undefined;
  const status = Number(code);
  const { length, chunked, connection } = fields;
  const hasNone = isHead || status < 200 || status === 204 || status === 304;
  const framing: BodyFraming = hasNone
    ? { kind: 'none' }
    : chunked
      ? { kind: 'chunked' }
      : length === undefined
        ? { kind: 'close' }
        : length === 0
          ? { kind: 'none' }
          : { kind: 'length', bytes: length };
  return { status, framing, closes: connection === 'close' || minor === '0' || framing.kind === 'close' };
}

interface Fields {
  readonly length: number | undefined;
  readonly chunked: boolean;
  readonly connection: string | undefined;
  readonly upgrade: boolean;
}

/** Undefined when the length of the body is told in two ways, or in none that is known. */
function readFields(text: string): Fields | undefined {
  let length: number | undefined;
  let chunked = false;
  let connection: string | undefined;
  let upgrade = false;
  for (const [, name = '', value = ''] of text.matchAll(
    /\r\n(content-length|transfer-encoding|connection|upgrade):[ \t]*([^\r]*)/gi,
  )) {
    const said = value.trim().toLowerCase();
    switch (name.toLowerCase()) {
      case 'content-length':
        if (!/^\d{1,15}$/.test(said) || (length !== undefined && length !== Number(said))) return undefined;
        length = Number(said);
        break;
      case 'transfer-encoding':
        if (said !== 'chunked' || chunked) return undefined;
        chunked = true;
        break;
      case 'connection':
        connection = said;
        break;
      default:
        upgrade = true;
    }
  }
  return chunked && length !== undefined ? undefined : { length, chunked, connection, upgrade };
}
