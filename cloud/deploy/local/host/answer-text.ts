const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** Writes an answer of the balancer's own, in the form of the scoring server's. */
export function answerText(status: number, message: string, { closes }: { readonly closes: boolean }): string {
  const body = JSON.stringify({ message });
  const lines = [
    `HTTP/1.1 ${status} ${reasons[status] ?? ''}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    'x-ms-run-function-failed: False',
    ...(status === 503 ? ['retry-after: 1'] : []),
    ...(closes ? ['connection: close'] : []),
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
