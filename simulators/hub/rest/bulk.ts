import { z } from 'zod';
import { HubError } from '../hub-error.ts';
import { type BulkOptions, applyBulkEntry, bulkEntrySchema } from '../identity/bulk.ts';
import type { Store } from '../store.ts';
import { type Answer, type Call, type Route, readBody } from './route.ts';

/** How many devices one call may name. */
const devicesPerCallMax = 100;

/** Many devices in one call. @see https://learn.microsoft.com/rest/api/iothub/service/bulk-registry/update-registry */
export function bulkRoutes(options: BulkOptions & { readonly store: Store }): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/devices',
      allowed: { service: ['RegistryWrite'] },
      handle: (call) => options.store.together(() => updateMany(call, options)),
    },
  ];
}

function updateMany(call: Call, options: BulkOptions): Answer {
  const entries = readBody(call, z.array(bulkEntrySchema).min(1));
  if (entries.length > devicesPerCallMax) {
    throw new HubError(
      'ArgumentInvalid',
      `${entries.length} devices, ${devicesPerCallMax} at most are allowed in one call`,
    );
  }
  const names = entries.map(({ id, moduleId }) => JSON.stringify([id, moduleId ?? null]));
  if (new Set(names).size < names.length)
    throw new HubError('DeviceDefinedMultipleTimes', 'A device is named more than once');
  const errors = entries.map((entry) => applyBulkEntry(entry, options)).filter((failure) => failure !== undefined);
  // Those that could be done are done; the answer names the others.
  return { status: errors.length === 0 ? 200 : 400, body: { isSuccessful: errors.length === 0, errors, warnings: [] } };
}
