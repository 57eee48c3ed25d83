import { z } from 'zod';
import { HubError } from '../hub-error.ts';
import type { JobRequest, JobWork, Jobs } from '../jobs.ts';
import { isObject } from '../json.ts';
import type { KeyedRow } from '../query/run.ts';
import { readContinuation, readPageSize, writeContinuation } from './pages.ts';
import { checkSameId } from './devices.ts';
import { type Answer, type Call, type Route, param, readBody } from './route.ts';
import { invocationOf, invocationSchema } from './twins.ts';

const allowed = { service: ['ServiceConnect', 'RegistryWrite'] } as const;

/** Jobs. @see https://learn.microsoft.com/rest/api/iothub/service/jobs */
export function jobRoutes(jobs: Jobs): readonly Route[] {
  return [
    {
      method: 'PUT',
      path: '/jobs/v2/:jobId',
      allowed,
      handle: (call) => ({ status: 200, body: jobs.create(readJob(call)) }),
    },
    { method: 'GET', path: '/jobs/v2/query', allowed, handle: (call) => list(call, jobs) },
    {
      method: 'GET',
      path: '/jobs/v2/:jobId',
      allowed,
      handle: (call) => ({ status: 200, body: jobs.get(param(call, 'jobId')) }),
    },
    {
      method: 'POST',
      path: '/jobs/v2/:jobId/cancel',
      allowed,
      handle: (call) => ({ status: 200, body: jobs.cancel(param(call, 'jobId')) }),
    },
  ];
}

const jobSchema = z.object({
  jobId: z.string().min(1).max(64),
  type: z.enum(['scheduleDeviceMethod', 'scheduleUpdateTwin']),
  cloudToDeviceMethod: invocationSchema.nullish(),
  updateTwin: z
    .object({
      tags: z.record(z.string(), z.unknown()).nullish(),
      properties: z.object({ desired: z.record(z.string(), z.unknown()).nullish() }).nullish(),
    })
    .loose()
    .nullish(),
  queryCondition: z.string().nullish(),
  startTime: z.iso.datetime({ offset: true }).nullish(),
  maxExecutionTimeInSeconds: z.number().int().min(1).max(2_592_000).nullish(),
});

function readJob(call: Call): JobRequest {
  const body = readBody(call, jobSchema);
  checkSameId(body.jobId, param(call, 'jobId'));
  return {
    jobId: body.jobId,
    work: readWork(body),
    queryCondition: body.queryCondition ?? '*',
    startMs: body.startTime == null ? undefined : Date.parse(body.startTime),
    maxExecutionMs: (body.maxExecutionTimeInSeconds ?? 3600) * 1000,
  };
}

function readWork(body: z.infer<typeof jobSchema>): JobWork {
  if (body.type === 'scheduleDeviceMethod') {
    if (body.cloudToDeviceMethod == null) throw new HubError('ArgumentInvalid', 'cloudToDeviceMethod is missing');
    const { cloudToDeviceMethod: asked } = body;
    return { type: body.type, invocation: invocationOf(asked), asked };
  }
  if (body.updateTwin == null) throw new HubError('ArgumentInvalid', 'updateTwin is missing');
  const { tags, properties } = body.updateTwin;
  const change = {
    tags: isObject(tags) ? tags : undefined,
    desired: isObject(properties?.desired) ? properties.desired : undefined,
  };
  return { type: body.type, change, asked: body.updateTwin };
}

function list(call: Call, jobs: Jobs): Answer {
  const status = call.query.get('jobStatus')?.toLowerCase();
  const type = call.query.get('jobType')?.toLowerCase();
  const matches = ({ row }: KeyedRow): boolean =>
    (status === undefined || String(row['status']).toLowerCase() === status) &&
    (type === undefined || String(row['type']).toLowerCase() === type);
  const key = `jobs ${status ?? ''} ${type ?? ''}`;
  const from = readContinuation(call.header('x-ms-continuation'), key);
  const size = readPageSize(call.header('x-ms-max-item-count'));
  const rest = [...jobs.rows()]
    .filter((row) => matches(row) && (from === undefined || row.key > from.after))
    // What came out of the store is in no order of time.
    .sort((left, right) => (left.key < right.key ? -1 : 1));
  const page = rest.slice(0, size);
  const last = page.at(-1);
  const hasMore = last !== undefined && rest.length > page.length;
  return {
    status: 200,
    body: page.map(({ row }) => row),
    headers: {
      'x-ms-item-type': 'JobResponse',
      ...(hasMore ? { 'x-ms-continuation': writeContinuation({ after: last.key, given: 0 }, key) } : {}),
    },
  };
}
