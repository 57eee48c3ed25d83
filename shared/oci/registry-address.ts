/** Gives the URL that a registry's paths are under. Only this machine itself is talked to without TLS. */
export function registryUrl(host: string): URL {
  const name = hostNameOf(host);
  // Docker Hub's registry has another name than what its images' names begin with.
  if (host === 'docker.io') return new URL('https://registry-1.docker.io');
  return new URL(`${isLoopback(name) ? 'http' : 'https'}://${host}`);
}

/** Says whether secrets may be sent to a URL: over TLS, or to this machine itself. */
export function isSafeForSecrets(url: URL): boolean {
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname));
}

/** Says whether a registry is on this machine. */
export function isLocalRegistry(host: string): boolean {
  return isLoopback(hostNameOf(host));
}

function hostNameOf(host: string): string {
  return host.replace(/:\d+$/, '');
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}
