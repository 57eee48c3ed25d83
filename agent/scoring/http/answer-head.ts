import { failedHeader } from './exchange.ts';
import type { Violation } from './request-head.ts';

/** What statuses are called; others, which a script may choose, go without. */
const reasons: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  301: 'Moved Permanently',
  302: 'Found',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  417: 'Expectation Failed',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};

/** First lines by their status, made when they are first needed. */
const statusLines: string[] = [];

/**
 * Writes what stands before the content of an answer.
 * @param options.fields headers, each a line
 * @param options.bytes length of the content
 */
export function answerHead(
  status: number,
  { fields, bytes }: { readonly fields: string; readonly bytes: number },
): string {
  const line = (statusLines[status] ??= `HTTP/1.1 ${status} ${reasons[status] ?? ''}\r\n`);
  // RFC 9110, 8.6: an answer that never has content says no length.
  if (status === 204) return `${line}${fields}${dateField()}\r\n`;
  return `${line}${fields}content-length: ${bytes}\r\n${dateField()}\r\n`;
}

/** Writes the whole answer to what is no request. */
export function violationAnswer({ status, message }: Violation): string {
  const content = JSON.stringify({ message });
  const fields = `content-type: application/json\r\n${failedHeader}: False\r\nconnection: close\r\n`;
  return answerHead(status, { fields, bytes: content.length }) + content;
}

let dateLine = '';
let dateSecond = 0;

/** The header with the date, which is the same for a second. */
function dateField(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateLine = `date: ${new Date(second * 1000).toUTCString()}\r\n`;
  }
  return dateLine;
}
