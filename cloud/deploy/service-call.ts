import { type ServiceSecrets, signToken } from './service-keys.ts';
import type { ServiceRecord } from './service-records.ts';

/** What a caller of a service needs beside its address. */
export interface CallCredential {
  /** Key or token, for `Authorization: Bearer`. */
  readonly credential?: string;
  /** Certificate that the service answers with. */
  readonly certificate?: string;
  readonly tlsName?: string;
}

/** Gives what the workspace itself calls a service with. */
export function credentialFor(
  { name, settings }: Pick<ServiceRecord, 'name' | 'settings'>,
  secrets: ServiceSecrets | undefined,
): CallCredential {
  if (secrets === undefined) return {};
  const { authEnabled, tokenAuthEnabled, tlsName } = settings;
  const { primary, tls } = secrets;
  const credential = tokenAuthEnabled
    ? signToken(name, secrets, Date.now()).accessToken
    : authEnabled
      ? primary
      : undefined;
  return {
    ...(credential === undefined ? {} : { credential }),
    ...(tls === undefined ? {} : { certificate: tls.certificate }),
    ...(tlsName === undefined ? {} : { tlsName }),
  };
}
