import { connect } from 'node:net';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Container, Probe } from '../objects.ts';

/** What a probe found. */
export interface ProbeResult {
  readonly isSuccess: boolean;
  readonly message: string;
}

/** Asks a container once, as its probe says; what does not answer in time has failed. */
export async function probeOnce(probe: Probe, container: Container, podIp: string): Promise<ProbeResult> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  const { httpGet, tcpSocket } = probe;
  const port = portOf(httpGet?.port ?? tcpSocket?.port ?? 0, container);
  if (httpGet === undefined) return await tcpProbe(tcpSocket?.host ?? podIp, port, timeoutMs);
  return await httpProbe({ ...httpGet, host: httpGet.host ?? podIp, port, timeoutMs });
}

function portOf(port: number | string, { ports = [] }: Container): number {
  if (typeof port === 'number') return port;
  return ports.find(({ name }) => name === port)?.containerPort ?? Number(port);
}

async function tcpProbe(host: string, port: number, timeoutMs: number): Promise<ProbeResult> {
  const { promise, resolve } = Promise.withResolvers<ProbeResult>();
  const socket = connect({ host, port });
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error('i/o timeout')));
  socket.once('connect', () => resolve({ isSuccess: true, message: '' }));
  socket.once('error', (error) => resolve({ isSuccess: false, message: `dial tcp ${host}:${port}: ${error.message}` }));
  const result = await promise;
  socket.destroy();
  return result;
}

async function httpProbe(of: {
  readonly scheme?: string;
  readonly path?: string;
  readonly httpHeaders?: readonly { readonly name: string; readonly value: string }[];
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}): Promise<ProbeResult> {
  const { scheme = 'HTTP', path = '/', host, port, timeoutMs } = of;
  const { promise, resolve } = Promise.withResolvers<ProbeResult>();
  const headers = Object.fromEntries((of.httpHeaders ?? []).map(({ name, value }) => [name, value]));
  const options = {
    host,
    port,
    path,
    timeout: timeoutMs,
    agent: false,
    headers: { 'user-agent': 'kube-probe/1.33', ...headers },
  };
  // A node does not check the certificate of what it probes.
  const request = scheme === 'HTTPS' ? httpsRequest({ ...options, rejectUnauthorized: false }) : httpRequest(options);
  const limit = setTimeout(() => request.destroy(new Error('context deadline exceeded')), timeoutMs);
  request.on('response', (response) => {
    response.resume();
    const { statusCode = 0 } = response;
    const isSuccess = statusCode >= 200 && statusCode < 400;
    resolve({ isSuccess, message: isSuccess ? '' : `HTTP probe failed with statuscode: ${statusCode}` });
  });
  request.on('error', (error) => {
    const url = `${scheme.toLowerCase()}://${host}:${port}${path}`;
    resolve({ isSuccess: false, message: `Get "${url}": ${error.message}` });
  });
  request.end();
  const result = await promise;
  clearTimeout(limit);
  request.destroy();
  return result;
}
