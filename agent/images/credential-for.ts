import { parseReference } from '../../shared/oci/reference.ts';
import type { RegistryCredential } from '../../shared/oci/registry-credentials.ts';

/** Credentials of registries by any name, as a deployment gives them. */
type Credentials = Readonly<
  Record<string, { readonly username: string; readonly password: string; readonly address: string }>
>;

/** Finds how to sign in for an image: the credentials whose address is the image's registry, without regard to case. */
export function credentialFor(image: string, credentials: Credentials): RegistryCredential | undefined {
  const host = parseReference(image).host.toLowerCase();
  const found = Object.values(credentials).find(({ address }) => hostOf(address) === host);
  if (found === undefined) return undefined;
  return { kind: 'password', username: found.username, password: found.password };
}

/** Docker Hub is written in several ways; others may carry a scheme or path. */
function hostOf(address: string): string {
  const host = address
    .toLowerCase()
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '');
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
}
