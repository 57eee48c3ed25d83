import { RequestHeaders } from './request-headers.ts';

/** What a request says before its body. */
export interface RequestHead {
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly target: string;
  readonly headers: RequestHeaders;
  /** Length of the body; 0 where there is none. */
  readonly bodyBytes: number | 'chunked';
  /** Whether the client would send its next request on the same connection. */
  readonly keepsAlive: boolean;
  /** Whether the client waits for a word before it sends the body. */
  readonly expectsContinue: boolean;
}

/** Why what a client sent is no HTTP that is taken. */
export interface Violation {
  readonly status: 400 | 408 | 417 | 431 | 501 | 505;
  readonly message: string;
}

/** Bytes of a request line with all headers, as Node has it. */
export const headBytesMax = 16 * 1024;

/** More headers than any client sends. */
const headersMax = 256;

const tab = 9;
const carriageReturn = 13;
const lineFeed = 10;
const space = 32;
const zero = 48;
const colon = 58;

/** RFC 9110, 5.6.2: what methods and names of headers are made of. */
const tokenBytes = tableOf("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/**
 * Reads a request's head as RFC 9112 has it, and nothing more lenient: what two programs may read in two ways is how a request is
 * smuggled past one of them. Lines end in CR LF; there is no space before a colon; no line is folded; lengths are said once.
 * @param start of the request line
 * @param end where the empty line starts
 */
export function parseHead(bytes: Buffer, start: number, end: number): RequestHead | Violation {
  const text = bytes.toString('latin1', start, end);
  const lineEnd = text.indexOf('\r\n');
  const methodEnd = tokenEnd(text, 0);
  const targetEnd = visibleEnd(text, methodEnd + 1);
  if (methodEnd === 0 || text.charCodeAt(methodEnd) !== space) return invalid('a method was wanted first');
  if (targetEnd === methodEnd + 1 || text.charCodeAt(targetEnd) !== space) {
    return invalid('a path of visible ASCII was wanted behind the method');
  }
  const version = text.slice(targetEnd + 1, lineEnd);
  if (version !== 'HTTP/1.1' && version !== 'HTTP/1.0') {
    if (!/^HTTP\/\d\.\d$/.test(version)) return invalid('"HTTP/1.1" was wanted behind the path');
    return { status: 505, message: 'Cannot read the request: its version of HTTP is another, 1.1 was wanted' };
  }
  const headers = parseHeaders(text, lineEnd + 2);
  if (!(headers instanceof RequestHeaders)) return headers;
  const target = pathOf(text.slice(methodEnd + 1, targetEnd));
  return framed({ method: text.slice(0, methodEnd), target, headers }, version === 'HTTP/1.1');
}

/**
 * Reads lines of headers, each of which ends in CR LF; trailers have the same form.
 * @param start of the first line
 */
export function parseHeaders(text: string, start: number): RequestHeaders | Violation {
  const headers = new RequestHeaders();
  let at = start;
  while (at < text.length) {
    const nameEnd = tokenEnd(text, at);
    if (nameEnd === at || text.charCodeAt(nameEnd) !== colon) return invalid('"name: value" was wanted as a header');
    let valueStart = nameEnd + 1;
    while (isBlank(text.charCodeAt(valueStart))) valueStart += 1;
    const lineEnd = valueEndOf(text, valueStart);
    if (text.charCodeAt(lineEnd) !== carriageReturn || text.charCodeAt(lineEnd + 1) !== lineFeed) {
      return invalid('a header has a control character');
    }
    let valueEnd = lineEnd;
    while (valueEnd > valueStart && isBlank(text.charCodeAt(valueEnd - 1))) valueEnd -= 1;
    if (headers.count >= headersMax) return tooManyHeaders();
    headers.add(text.slice(at, nameEnd), text.slice(valueStart, valueEnd));
    at = lineEnd + 2;
  }
  return headers;
}

/** Makes the refusal of a head that is too long or has too many headers. */
export function tooManyHeaders(): Violation {
  return {
    status: 431,
    message: `Cannot read the request: at most ${headBytesMax} bytes in ${headersMax} headers were wanted`,
  };
}

/** Makes the refusal of bytes that are no HTTP. */
export function invalid(wanted: string): Violation {
  return { status: 400, message: `Cannot read the request: ${wanted}` };
}

/** Finds out where the body ends, which must be said in one way alone. */
function framed(said: Pick<RequestHead, 'headers' | 'method' | 'target'>, isCurrent: boolean): RequestHead | Violation {
  const { headers } = said;
  const hosts = headers.countOf('host');
  if (hosts > 1 || (isCurrent && hosts === 0)) return invalid('one Host was wanted');
  if (headers.countOf('content-length') + headers.countOf('transfer-encoding') > 1) {
    return invalid('the length of the body was wanted once');
  }
  const length = lengthSaid(headers.get('content-length') ?? '0');
  const coding = headers.get('transfer-encoding');
  if (length === undefined) return invalid('a number was wanted as Content-Length');
  if (coding !== undefined && !isCurrent) return invalid('HTTP/1.0 has no Transfer-Encoding');
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    return { status: 501, message: 'Cannot read the request: chunked was wanted as its Transfer-Encoding' };
  }
  const expected = headers.get('expect');
  if (expected !== undefined && expected.toLowerCase() !== '100-continue') {
    return { status: 417, message: 'Cannot read the request: 100-continue was wanted as what it expects' };
  }
  const connection = headers.get('connection');
  return {
    method: said.method,
    target: said.target,
    headers,
    bodyBytes: coding === undefined ? length : 'chunked',
    keepsAlive: connection === undefined ? isCurrent : keepsAlive(connection, isCurrent),
    expectsContinue: expected !== undefined && isCurrent,
  };
}

/** Reads 1 to 15 digits and nothing else. */
function lengthSaid(text: string): number | undefined {
  if (text.length === 0 || text.length > 15) return undefined;
  let length = 0;
  for (let at = 0; at < text.length; at += 1) {
    const digit = text.charCodeAt(at) - zero;
    if (digit < 0 || digit > 9) return undefined;
    length = length * 10 + digit;
  }
  return length;
}

function keepsAlive(connection: string, isCurrent: boolean): boolean {
  const options = connection.toLowerCase().split(/[\t ,]+/);
  return isCurrent ? !options.includes('close') : options.includes('keep-alive') && !options.includes('close');
}

/** A client that takes this server for a proxy sends the whole address. */
function pathOf(target: string): string {
  if (target.startsWith('/')) return target;
  const path = target.replace(/^https?:\/\/[^/?]*/i, '');
  return path === '' || path.startsWith('?') ? `/${path}` : path;
}

function tokenEnd(text: string, start: number): number {
  let at = start;
  while (tokenBytes[text.charCodeAt(at)] === 1) at += 1;
  return at;
}

function visibleEnd(text: string, start: number): number {
  let at = start;
  for (let byte = text.charCodeAt(at); byte > space && byte < 127; byte = text.charCodeAt(at)) at += 1;
  return at;
}

/** RFC 9110, 5.5: visible characters, obs-text, space and tab. */
function valueEndOf(text: string, start: number): number {
  let at = start;
  for (let byte = text.charCodeAt(at); (byte >= space && byte !== 127) || byte === tab; byte = text.charCodeAt(at))
    at += 1;
  return at;
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab;
}

function tableOf(characters: string): Uint8Array {
  const table = new Uint8Array(256);
  for (let index = 0; index < characters.length; index += 1) table[characters.charCodeAt(index)] = 1;
  return table;
}
