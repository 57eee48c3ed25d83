import type { ContainerGroup } from '@azure/arm-containerinstance';
import { lookup } from 'node:dns/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { withDeadline } from '../../../shared/deadline.ts';

/** How long a resolver, and a service that is asked how it is, may take, in milliseconds. */
const lookupTimeoutMs = 2_000;
const answerTimeoutMs = 3_000;

/**
 * Gives where a group answers: by its name on the internet, or, while no resolver here knows that (a new one takes its time), by its address.
 * @returns undefined while it has neither
 */
export async function addressOf(
  { ipAddress }: ContainerGroup,
  { isTls }: { readonly isTls: boolean },
): Promise<string | undefined> {
  const { fqdn, ip, ports } = ipAddress ?? {};
  const host = fqdn !== undefined && (await isKnown(fqdn)) ? fqdn : (ip ?? fqdn);
  const port = ports?.[0]?.port;
  if (host === undefined || port === undefined) return undefined;
  return `${isTls ? 'https' : 'http'}://${host}:${port}`;
}

/** Asks a service whether it is ready; whose certificate it has is not the question here. */
export async function answersAt(address: string): Promise<boolean> {
  const url = new URL(`${address}/v2/health/ready`);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const options = { agent: false, rejectUnauthorized: false, signal: AbortSignal.timeout(answerTimeoutMs) } as const;
  send(url, options, (response) => {
    response.resume();
    resolve(response.statusCode === 200);
  })
    .on('error', () => resolve(false))
    .end();
  return await promise;
}

async function isKnown(host: string): Promise<boolean> {
  return withDeadline({ doing: `resolve "${host}"`, timeoutMs: lookupTimeoutMs }, () => lookup(host)).then(
    () => true,
    () => false,
  );
}
