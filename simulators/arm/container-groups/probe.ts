import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { ProbeDefinition } from './definition.ts';

/** What a probe has found, when that changes something. */
export interface ProbeListener {
  /** A single check failed. */
  failed(why: string): void;
  /** Enough checks in a row failed, or succeeded after that. */
  turned(isHealthy: boolean): void;
}

/**
 * Checks a container by HTTP until the signal is aborted, as Kubernetes does: any status from 200 to 399 is healthy, and certificates
 * are not checked. Defaults are those of Kubernetes.
 * @see https://learn.microsoft.com/azure/container-instances/container-instances-liveness-probe
 */
export async function runProbe(
  probe: ProbeDefinition,
  { host, listener, signal }: { readonly host: string; readonly listener: ProbeListener; readonly signal: AbortSignal },
): Promise<void> {
  const { initialDelaySeconds, periodSeconds, failureThreshold, successThreshold } = probe;
  let failures = 0;
  let successes = 0;
  await wait((initialDelaySeconds ?? 0) * 1000, signal);
  while (!signal.aborted) {
    const why = await check(probe, host, signal);
    if (signal.aborted) return;
    if (why === undefined) {
      failures = 0;
      successes += 1;
      if (successes === (successThreshold ?? 1)) listener.turned(true);
    } else {
      successes = 0;
      failures += 1;
      listener.failed(why);
      if (failures === (failureThreshold ?? 3)) listener.turned(false);
    }
    await wait((periodSeconds ?? 10) * 1000, signal);
  }
}

/** Gives why a check failed, or `undefined`. */
async function check(probe: ProbeDefinition, host: string, signal: AbortSignal): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const { path, port, scheme, httpHeaders } = probe.httpGet ?? { port: 80 };
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  const headers = Object.fromEntries((httpHeaders ?? []).map(({ name, value }) => [name, value]));
  const options = {
    host,
    port,
    path: path ?? '/',
    headers,
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  };
  const send = scheme?.toLowerCase() === 'https' ? requestHttps : requestHttp;
  const sent = send({ ...options, rejectUnauthorized: false, agent: false }, (response) => {
    const status = response.statusCode ?? 0;
    response.resume();
    resolve(status >= 200 && status < 400 ? undefined : `HTTP probe failed with statuscode: ${status}`);
  });
  sent.on('error', (error) => resolve(error.name === 'AbortError' ? `no answer in ${timeoutMs} ms` : error.message));
  sent.end();
  return await promise;
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0 || signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
}
