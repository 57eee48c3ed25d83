import { createHmac } from 'node:crypto';
import type { DeviceConnectionString } from '../../shared/edge/connection-string.ts';

/** The certificate that a device signs in to its hub with, both as PEM. */
export interface DeviceCertificate {
  readonly cert: string;
  /** Its private key; a secret. */
  readonly key: string;
}

/** Which device this is, and how it proves that to its hub. */
export interface DeviceIdentity {
  readonly device: DeviceConnectionString;
  /** Where it has no key. */
  readonly certificate?: DeviceCertificate;
  /** Base64 of what the keys of its modules follow from; a secret. It is the device's key where there is one. */
  readonly moduleSecret: string;
}

/** Gives the key of a module, which follows from the device's secret: it can be given to the module before the hub is reached. */
export function moduleKey({ moduleSecret }: DeviceIdentity, module: string, which: 'primary' | 'secondary'): string {
  return signWith(moduleSecret, `modelferry module ${module} ${which}`);
}

/** Signs with a key in base64, and gives the signature in base64. */
export function signWith(key: string, content: string): string {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(content).digest('base64');
}
