import { type DeviceBody, type DeviceIdentity, never, newEtag, readAuthentication } from './identity.ts';

/** What a device has that its caller does not give; an existing device has all the rest too. */
export type KeptOfDevice = Pick<DeviceIdentity, 'deviceId' | 'generationId'> &
  Partial<DeviceIdentity> & {
    /** Its own scope if it is an IoT Edge device. */
    readonly deviceScope: string | null;
    readonly now: string;
  };

/**
 * Makes a device's identity of what a caller sent and of what is kept: what is not given gets its default, but keys, which stay.
 * @throws {HubError} ArgumentInvalid when keys or thumbprints break the rules
 */
export function completeDevice(body: DeviceBody, kept: KeptOfDevice): DeviceIdentity {
  const iotEdge = body.capabilities?.iotEdge ?? false;
  const status = body.status ?? 'enabled';
  const isSameStatus = kept.status === undefined || kept.status === status;
  const authentication =
    body.authentication == null && kept.authentication !== undefined
      ? kept.authentication
      : readAuthentication(body.authentication);
  return {
    deviceId: kept.deviceId,
    generationId: kept.generationId,
    etag: newEtag(),
    status,
    statusReason: body.statusReason ?? null,
    statusUpdatedTime: isSameStatus ? (kept.statusUpdatedTime ?? never) : kept.now,
    authentication,
    capabilities: { iotEdge },
    ...scopesOf(body, iotEdge ? kept.deviceScope : null),
  };
}

/** The scope of an IoT Edge device is its own; that of another names the parent, which is also its one parent scope. */
function scopesOf(
  body: DeviceBody,
  own: string | null,
): { readonly deviceScope: string | null; readonly parentScopes: readonly string[] } {
  const given = (body.parentScopes ?? []).filter((scope) => scope !== '');
  if (own !== null) return { deviceScope: own, parentScopes: given };
  const deviceScope = body.deviceScope == null || body.deviceScope === '' ? (given[0] ?? null) : body.deviceScope;
  return { deviceScope, parentScopes: given.length > 0 || deviceScope === null ? given : [deviceScope] };
}
