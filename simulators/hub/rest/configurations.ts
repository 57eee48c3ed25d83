import { z } from 'zod';
import {
  configurationBodySchema,
  metricError,
  readContent,
  targetConditionError,
} from '../configurations/configuration.ts';
import type { Configurations } from '../configurations/configurations.ts';
import type { Evaluator } from '../configurations/evaluator.ts';
import { checkSameId } from './devices.ts';
import { type Route, param, readBody, readCount } from './route.ts';

// The documents give no permission for these; a policy that can do either half may do all. [inferred]
const allowed = { service: ['ServiceConnect', 'RegistryWrite'] } as const;
const allowedToRead = { service: ['ServiceConnect', 'RegistryRead', 'RegistryWrite'] } as const;

/** Configurations, IoT Edge deployments among them. @see https://learn.microsoft.com/rest/api/iothub/service/configuration */
export function configurationRoutes(options: {
  readonly configurations: Configurations;
  readonly evaluator: Evaluator;
}): readonly Route[] {
  const { configurations, evaluator } = options;
  return [
    {
      method: 'GET',
      path: '/configurations',
      allowed: allowedToRead,
      handle: (call) => ({
        status: 200,
        body: configurations.documents(readCount(call, 'top', { fallback: 100, max: 100 })),
      }),
    },
    {
      method: 'GET',
      path: '/configurations/:id',
      allowed: allowedToRead,
      handle: (call) => {
        const configuration = configurations.get(param(call, 'id'));
        const headers = { etag: `"${configuration.etag}"` };
        return { status: 200, body: configurations.document(configuration), headers };
      },
    },
    {
      method: 'PUT',
      path: '/configurations/:id',
      allowed,
      handle: (call) => {
        const body = readBody(call, configurationBodySchema);
        checkSameId(body.id, param(call, 'id'));
        const ifMatch = call.header('if-match');
        const configuration =
          ifMatch === undefined ? configurations.create(body) : configurations.update(body, ifMatch);
        const headers = { etag: `"${configuration.etag}"` };
        return { status: ifMatch === undefined ? 201 : 200, body: configurations.document(configuration), headers };
      },
    },
    {
      method: 'DELETE',
      path: '/configurations/:id',
      allowed,
      handle: (call) => {
        configurations.remove(param(call, 'id'), call.header('if-match'));
        return { status: 204 };
      },
    },
    {
      method: 'POST',
      path: '/configurations/testQueries',
      allowed: allowedToRead,
      handle: (call) => ({ status: 200, body: testQueries(readBody(call, testSchema)) }),
    },
    {
      method: 'POST',
      path: '/devices/:deviceId/applyConfigurationContent',
      allowed,
      handle: (call) => {
        evaluator.applyOnce(param(call, 'deviceId'), readContent(readBody(call, z.unknown())));
        return { status: 204 };
      },
    },
  ];
}

const testSchema = z.object({
  targetCondition: z.string().nullish(),
  customMetricQueries: z.record(z.string(), z.string()).nullish(),
});

function testQueries(asked: z.infer<typeof testSchema>): Record<string, unknown> {
  const targetError = targetConditionError(asked.targetCondition ?? '');
  const metricErrors = Object.entries(asked.customMetricQueries ?? {}).flatMap(([name, query]) => {
    const error = metricError(query);
    return error === undefined ? [] : [[name, error] as const];
  });
  return {
    ...(targetError === undefined ? {} : { targetConditionError: targetError }),
    ...(metricErrors.length === 0 ? {} : { customMetricQueryErrors: Object.fromEntries(metricErrors) }),
  };
}
