import { dockerCredentials } from '../../shared/oci/docker-credentials.ts';
import { RegistryClient } from '../../shared/oci/registry-client.ts';

/** Gives a client of a registry that signs in as `docker login` has left it, where the registry asks. */
export function openRegistry(host: string): RegistryClient {
  return new RegistryClient(host, { credentials: dockerCredentials() });
}
