import { X509Certificate } from 'node:crypto';
import type { Clock } from '../../../shared/clock.ts';
import { HubError } from '../hub-error.ts';
import { type Address, type Authentication, isSystemModule } from './identity.ts';
import type { Permission, Policy } from './policies.ts';
import type { DeviceRecord, Registry } from './registry.ts';
import { type Sas, covers, isSignedWith, readSas } from './sas.ts';

/** What a caller shows to prove who it is. */
export interface Credentials {
  /** A shared access signature, as it was sent. */
  readonly sas: string | undefined;
  /** The certificate of the TLS client (DER), if it showed one. */
  readonly certificate: Buffer | undefined;
}

/** Somebody that proved to be a device or module. */
export interface Admission {
  /** When it ends, in milliseconds since 1970; a certificate's own end for X.509. */
  readonly expiresMs: number;
  /** How it was proven, as the hub writes it into every message. */
  readonly method: {
    readonly scope: 'device' | 'module' | 'hub';
    readonly type: 'sas' | 'x509';
    readonly issuer: string;
  };
}

/**
 * Decides who may do what.
 *
 * Invariants: a signature is compared in constant time; nothing that is said here tells a caller which of key and
 * identity was wrong more than the hub's own errors do.
 */
export class Access {
  readonly #registry: Registry;
  readonly #policies: ReadonlyMap<string, Policy>;
  readonly #clock: Clock;
  readonly #isHubHost: (host: string) => boolean;
  readonly #authorities: readonly X509Certificate[];
  /** Device → the end that its tokens have to go beyond: earlier ones count as expired. */
  readonly #expired = new Map<string, number>();

  constructor(options: {
    readonly registry: Registry;
    readonly policies: ReadonlyMap<string, Policy>;
    readonly clock: Clock;
    /** Says whether a token's audience may name this host (lower case, with a port or without). */
    readonly isHubHost: (host: string) => boolean;
    /** The CAs that devices of type `certificateAuthority` may come from. */
    readonly authorities: readonly X509Certificate[];
  }) {
    this.#registry = options.registry;
    this.#policies = options.policies;
    this.#clock = options.clock;
    this.#isHubHost = options.isHubHost;
    this.#authorities = options.authorities;
  }

  /**
   * Admits a back end to an operation.
   * @param anyOf permissions of which the token's policy must have one
   * @throws {HubError} IotHubUnauthorizedAccess
   */
  admitService(credentials: Credentials, anyOf: readonly Permission[], path: readonly string[]): void {
    const sas = this.#readFresh(credentials.sas);
    this.#checkPolicy(sas, anyOf);
    if (!covers(sas, path)) refuse('the token does not cover what was asked for');
  }

  /**
   * Gives what a back end's token allows, for connections that ask once and then do many things.
   * @throws {HubError} IotHubUnauthorizedAccess
   */
  permissionsOf(token: string): { readonly permissions: readonly Permission[]; readonly expiresMs: number } {
    const sas = this.#readFresh(token);
    const policy = this.#policies.get(sas.policy ?? '');
    const keys = policy === undefined ? [] : [policy.primaryKey, policy.secondaryKey];
    if (policy === undefined || !(isSignedWith(sas, keys) || isSignedWith(sas, keys, 'utf8'))) {
      refuse('the token is of no policy of this hub');
    }
    return { permissions: policy.permissions, expiresMs: sas.expiresMs };
  }

  /** From now on a device's tokens that end then, or earlier, count as expired. */
  expireTokens(deviceId: string, endingMs: number): void {
    this.#expired.set(deviceId, Math.max(endingMs, this.#expired.get(deviceId) ?? 0));
  }

  /**
   * Admits a device or module.
   * @throws {HubError} IotHubUnauthorizedAccess, DeviceNotFound when there is none or it is disabled
   */
  admit(address: Address, credentials: Credentials): Admission {
    const device = this.#registry.devices.get(address.deviceId);
    if (device === undefined) {
      throw new HubError('DeviceNotFound', `IotHub does not contain the specified device '${address.deviceId}'`);
    }
    if (device.identity.status === 'disabled') {
      throw new HubError('DeviceNotFound', `The device '${address.deviceId}' is disabled`);
    }
    const { moduleId } = address;
    if (moduleId !== undefined && !device.modules.has(moduleId)) {
      throw new HubError('ModuleNotFound', `The device '${address.deviceId}' has no module '${moduleId}'`);
    }
    return credentials.sas === undefined
      ? this.#admitCertificate({ device, address, certificate: credentials.certificate })
      : this.#admitToken({ device, address, sas: this.#readFresh(credentials.sas) });
  }

  #admitToken(claim: { readonly device: DeviceRecord; readonly address: Address; readonly sas: Sas }): Admission {
    const { device, address, sas } = claim;
    const { deviceId, moduleId } = address;
    const path = ['devices', deviceId, ...(moduleId === undefined ? [] : ['modules', moduleId])];
    // An audience of more than the identity is tolerated, of less is what hub-wide and device-wide tokens are.
    if (!covers({ ...sas, path: sas.path.slice(0, path.length) }, path)) refuse('the token is for another identity');
    if (sas.expiresMs <= (this.#expired.get(deviceId) ?? 0)) refuse('the token has expired');
    const expiry = { expiresMs: sas.expiresMs };
    if (sas.policy !== undefined) {
      this.#checkPolicy(sas, ['DeviceConnect']);
      return { ...expiry, method: { scope: 'hub', type: 'sas', issuer: 'iothub' } };
    }
    // Microsoft's own integration test connects as $edgeAgent with the device's key.
    const isOwn = isSignedWith(sas, keysOf(this.#authenticationOf(device, moduleId)));
    const isParents = isSystemModule(moduleId) && isSignedWith(sas, keysOf(device.identity.authentication));
    if (!isOwn && !isParents) refuse('the signature was made with none of the keys');
    return {
      ...expiry,
      method: { scope: moduleId === undefined ? 'device' : 'module', type: 'sas', issuer: 'iothub' },
    };
  }

  #admitCertificate(claim: {
    readonly device: DeviceRecord;
    readonly address: Address;
    readonly certificate: Buffer | undefined;
  }): Admission {
    const { device, address } = claim;
    if (claim.certificate === undefined) refuse('neither a token nor a client certificate was shown');
    const certificate = new X509Certificate(claim.certificate);
    const now = this.#clock.nowMs();
    if (certificate.validFromDate.getTime() > now || certificate.validToDate.getTime() <= now) {
      refuse('the client certificate is not valid now');
    }
    const authentication = this.#authenticationOf(device, address.moduleId);
    const isKnown =
      authentication.type === 'selfSigned'
        ? hasThumbprint(certificate, authentication)
        : authentication.type === 'certificateAuthority' && this.#isIssued(certificate, address.deviceId);
    if (!isKnown) refuse('the client certificate is not that of the device');
    const issuer = authentication.type === 'selfSigned' ? 'external' : 'iothub';
    return {
      expiresMs: certificate.validToDate.getTime(),
      method: { scope: address.moduleId === undefined ? 'device' : 'module', type: 'x509', issuer },
    };
  }

  #authenticationOf(device: DeviceRecord, moduleId: string | undefined): Authentication {
    const module = moduleId === undefined ? undefined : device.modules.get(moduleId);
    return (module ?? device).identity.authentication;
  }

  #isIssued(certificate: X509Certificate, deviceId: string): boolean {
    const name = certificate.toLegacyObject().subject['CN'];
    return (
      name === deviceId &&
      this.#authorities.some((ca) => certificate.checkIssued(ca) && certificate.verify(ca.publicKey))
    );
  }

  #readFresh(text: string | undefined): Sas {
    if (text === undefined) refuse('the authorization is missing');
    const sas = readSas(text);
    if (!this.#isHubHost(sas.host)) refuse('the token is for another hub');
    if (sas.expiresMs <= this.#clock.nowMs()) {
      throw new HubError('IotHubUnauthorizedAccess', 'Unauthorized: the token has expired');
    }
    return sas;
  }

  #checkPolicy(sas: Sas, anyOf: readonly Permission[]): void {
    const policy = sas.policy === undefined ? undefined : this.#policies.get(sas.policy);
    if (policy === undefined) refuse('the token names no policy of this hub');
    if (!isSignedWith(sas, [policy.primaryKey, policy.secondaryKey])) {
      refuse("the signature was made with none of the policy's keys");
    }
    if (!anyOf.some((permission) => policy.permissions.includes(permission))) {
      refuse(`Authorization rule '${policy.name}' does not allow access, ${anyOf.join(' or ')} was wanted`);
    }
  }
}

function keysOf(authentication: Authentication): readonly (string | null)[] {
  if (authentication.type !== 'sas') return [];
  return [authentication.symmetricKey.primaryKey, authentication.symmetricKey.secondaryKey];
}

function hasThumbprint(certificate: X509Certificate, { x509Thumbprint }: Authentication): boolean {
  const shown = [certificate.fingerprint, certificate.fingerprint256].map((text) => text.replaceAll(':', ''));
  return [x509Thumbprint.primaryThumbprint, x509Thumbprint.secondaryThumbprint].some(
    (thumbprint) => thumbprint !== null && shown.includes(thumbprint),
  );
}

function refuse(why: string): never {
  throw new HubError('IotHubUnauthorizedAccess', `Unauthorized: ${why}`);
}
