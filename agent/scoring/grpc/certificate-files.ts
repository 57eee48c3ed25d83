import type { SecureContextOptions } from 'node:tls';
import type { experimental } from '@grpc/grpc-js';
import type { Logger } from '../../../shared/log.ts';
import { type TlsFiles, watchCertificates } from '../http/tls-files.ts';
import type { WatchedFiles } from '../watched-files.ts';

/** Hands the certificate files to gRPC, and again when they are renewed. */
export class CertificateFiles implements experimental.CertificateProvider, Disposable {
  readonly #files: WatchedFiles<SecureContextOptions>;
  readonly #asksClients: boolean;
  readonly #authorityListeners = new Set<experimental.CaCertificateUpdateListener>();
  readonly #identityListeners = new Set<experimental.IdentityCertificateUpdateListener>();

  /** @throws {FerryError} FILE_UNREADABLE */
  constructor(tls: TlsFiles, log: Logger) {
    this.#asksClients = tls.clientCaFile !== undefined;
    this.#files = watchCertificates(tls, { log, onChange: () => this.#tellAll() });
  }

  /** Gives the authority of clients' certificates, where they must show one. */
  get clients(): CertificateFiles | null {
    return this.#asksClients ? this : null;
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#authorityListeners.add(listener);
    // Not at once: gRPC's server begins to listen for changes when this has returned.
    queueMicrotask(() => listener(this.#authority()));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#authorityListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.add(listener);
    queueMicrotask(() => listener(this.#identity()));
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#identityListeners.delete(listener);
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }

  #authority(): experimental.CaCertificateUpdate {
    return { caCertificate: this.#files.value.ca as Buffer };
  }

  #identity(): experimental.IdentityCertificateUpdate {
    const { cert, key } = this.#files.value;
    return { certificate: cert as Buffer, privateKey: key as Buffer };
  }

  #tellAll(): void {
    for (const listener of this.#authorityListeners) listener(this.#authority());
    for (const listener of this.#identityListeners) listener(this.#identity());
  }
}
