import { proxiedAgent } from '../../shared/proxy.ts';

/** How long the hub may take to answer, in milliseconds. */
const answerTimeoutMs = 10_000;

/**
 * Says how far this machine's clock is from the hub's, in milliseconds: over 0 when it is ahead. The hub dates every answer, a refusal too, to
 * the second. Gives nothing when the hub does not answer, or its certificate does not hold (which a clock that is years off makes of all).
 * @param address `factory.azure-devices.net`, with a port or without
 * @see RFC 9110, 6.6.1 "Date"
 */
export async function measureClockSkew(address: string, signal?: AbortSignal): Promise<number | undefined> {
  const { hostname, port } = new URL(`https://${address}`);
  const time = AbortSignal.timeout(answerTimeoutMs);
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  const { request } = process.getBuiltinModule('node:https');
  const asking = request(
    {
      host: hostname,
      port: port === '' ? 443 : port,
      method: 'HEAD',
      path: '/',
      agent: proxiedAgent(),
      signal: signal === undefined ? time : AbortSignal.any([signal, time]),
    },
    (answer) => {
      answer.resume();
      const hubMs = Date.parse(answer.headers.date ?? '');
      // The date is cut to the second, so half of one is what it is off by on average.
      resolve(Number.isNaN(hubMs) ? undefined : Date.now() - (hubMs + 500));
    },
  );
  asking.on('error', () => resolve(undefined));
  asking.end();
  return promise;
}
