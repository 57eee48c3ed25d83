import type { Definition } from './definition.ts';

/** Finds how to sign in for an image: by the credential of its server. An identity is let in without, as by a registry of one's own tenant. */
export function credentialFor(
  image: string,
  { properties }: Definition,
): { readonly username: string; readonly password: string } | undefined {
  const first = image.split('/')[0] ?? '';
  const host = /[.:]|^localhost$/.test(first) ? first : 'index.docker.io';
  const found = (properties.imageRegistryCredentials ?? []).find(
    ({ server }) =>
      server.toLowerCase() === host.toLowerCase() || (server === 'docker.io' && host === 'index.docker.io'),
  );
  if (found?.username == null || found.password == null) return undefined;
  return { username: found.username, password: found.password };
}
