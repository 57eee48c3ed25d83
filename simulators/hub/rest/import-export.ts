import { z } from 'zod';
import { HubError } from '../hub-error.ts';
import type { ImportExport, ImportExportRequest } from '../import-export.ts';
import { type Call, type Route, param, readBody } from './route.ts';

const allowed = { service: ['RegistryWrite'] } as const;

/** Import and export of the registry. @see https://learn.microsoft.com/rest/api/iothub/service/jobs/create-import-export-job */
export function importExportRoutes(jobs: ImportExport): readonly Route[] {
  return [
    {
      method: 'POST',
      path: '/jobs/create',
      allowed,
      handle: (call) => ({ status: 200, body: jobs.create(readRequest(call)) }),
    },
    { method: 'GET', path: '/jobs', allowed, handle: () => ({ status: 200, body: jobs.list() }) },
    {
      method: 'GET',
      path: '/jobs/:jobId',
      allowed,
      handle: (call) => ({ status: 200, body: jobs.get(param(call, 'jobId')) }),
    },
    {
      method: 'DELETE',
      path: '/jobs/:jobId',
      allowed,
      handle: (call) => ({ status: 200, body: jobs.cancel(param(call, 'jobId')) }),
    },
  ];
}

const containerSchema = z.url({ protocol: /^https?$/ }).max(4096);
const blobNameSchema = z.string().min(1).max(1024).nullish();

const requestSchema = z.object({
  type: z.enum(['import', 'export']),
  inputBlobContainerUri: containerSchema.nullish(),
  outputBlobContainerUri: containerSchema,
  inputBlobName: blobNameSchema,
  outputBlobName: blobNameSchema,
  excludeKeysInExport: z.boolean().nullish(),
  storageAuthenticationType: z.string().nullish(),
});

function readRequest(call: Call): ImportExportRequest {
  const body = readBody(call, requestSchema);
  if ((body.storageAuthenticationType ?? 'keyBased').toLowerCase() !== 'keybased') {
    throw new HubError(
      'ArgumentInvalid',
      'The simulator has no identity of its own: storageAuthenticationType "keyBased" was wanted',
    );
  }
  if (body.type === 'import' && body.inputBlobContainerUri == null) {
    throw new HubError('ArgumentInvalid', 'inputBlobContainerUri is missing');
  }
  return {
    type: body.type,
    inputBlobContainerUri: body.inputBlobContainerUri ?? undefined,
    outputBlobContainerUri: body.outputBlobContainerUri,
    inputBlobName: body.inputBlobName ?? 'devices.txt',
    outputBlobName: body.outputBlobName ?? 'devices.txt',
    excludeKeysInExport: body.excludeKeysInExport ?? false,
  };
}
