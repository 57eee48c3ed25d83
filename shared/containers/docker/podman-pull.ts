import type Dockerode from 'dockerode';
import { z } from 'zod';

/** One line of the answer to a pull. */
const lineSchema = z.looseObject({ error: z.string().optional(), id: z.string().optional() });

/** Says whether what speaks Docker's API is Podman. */
export async function isPodman(docker: Dockerode): Promise<boolean> {
  const { Components: components = [] } = (await docker.version()) as { Components?: { Name: string }[] };
  return components.some(({ Name: name }) => name === 'Podman Engine');
}

/**
 * Has Podman pull from a registry on this machine's loopback address. Docker takes that for one without TLS, Podman has to be told, and only its own
 * API can; it checks every digest all the same.
 * @see https://docs.podman.io/en/latest/_static/api.html#tag/images/operation/ImagePullLibpod
 */
export async function pullWithPodman(docker: Dockerode, reference: string, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const call = {
    path: '/v4.0.0/libpod/images/pull?',
    method: 'POST',
    options: { reference, tlsVerify: false },
    statusCodes: { 200: true },
    ...(signal === undefined ? {} : { abortSignal: signal }),
  };
  docker.modem.dial(call, (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer)));
  const lines = String(await promise)
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => lineSchema.parse(JSON.parse(line)));
  // A pull that fails is answered with 200 too.
  const failed = lines.find(({ error }) => error !== undefined);
  if (failed !== undefined) throw new Error(failed.error);
  if (!lines.some(({ id }) => id !== undefined)) throw new Error('the pull ended without an image');
}
