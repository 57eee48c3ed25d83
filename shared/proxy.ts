import type { Agent, AgentOptions } from 'node:https';

/** Which proxy HTTPS goes through. */
export interface ProxySettings {
  /** `http://proxy:3128`, with `user:password@` where it wants that. @default what `HTTPS_PROXY` says */
  readonly proxy?: string | undefined;
  /** Hosts that are reached without it, with commas between, as `NO_PROXY` has them. @default what `NO_PROXY` says */
  readonly proxyExcept?: string | undefined;
}

/**
 * Makes this process reach other machines through a proxy from now on, by HTTPS (`CONNECT`), whichever library does it. It is told
 * by the variables that all of them know, so there is one place for it.
 */
export function useProxy({ proxy, proxyExcept }: ProxySettings): void {
  if (proxy !== undefined) set('HTTPS_PROXY', proxy);
  if (proxyExcept !== undefined) set('NO_PROXY', proxyExcept);
  if (proxyAddress() === undefined) return;
  process.getBuiltinModule('node:https').globalAgent = proxiedAgent({ keepAlive: true, timeout: 5000 });
}

/** Makes an agent of one's own that goes through the proxy, if there is one. */
export function proxiedAgent(options: AgentOptions = {}): Agent {
  const { Agent: HttpsAgent } = process.getBuiltinModule('node:https');
  return new HttpsAgent({ ...options, ...(proxyAddress() === undefined ? {} : { proxyEnv: process.env }) });
}

/** Says whether a host is reached through a proxy. @param host without a port */
export function isProxied(host: string): boolean {
  if (proxyAddress() === undefined) return false;
  const name = host.toLowerCase();
  const exceptions = (variable('NO_PROXY') ?? '').toLowerCase().split(/[\s,]+/);
  return !exceptions.some((exception) => {
    const entry = exception.replace(/:\d+$/, '').replace(/^\*?\./, '');
    return entry === '*' || (entry !== '' && (name === entry || name.endsWith(`.${entry}`)));
  });
}

function proxyAddress(): string | undefined {
  return variable('HTTPS_PROXY');
}

/** Reads a variable in either case, as every program does; the small one goes before. */
function variable(name: string): string | undefined {
  return process.env[name.toLowerCase()] || process.env[name] || undefined;
}

function set(name: string, value: string): void {
  delete process.env[name.toLowerCase()];
  process.env[name] = value;
}
