import { z } from 'zod';
import { ArmError, type ArmErrorDetail } from '../arm-error.ts';
import { operationHeaders, type Operations } from '../operations.ts';
import type { Faults } from '../faults.ts';
import type { ArmAnswer, ArmRequest, Route } from '../route.ts';
import type { ResourceGroup, State } from '../state.ts';
import { type Definition, definitionSchema } from './definition.ts';
import type { ContainerGroup } from './group.ts';
import type { ContainerGroups } from './groups.ts';
import { stampLines } from './stamp-lines.ts';
import { viewOf } from './view.ts';
import { locationRoutes } from './location-routes.ts';

/** What the routes of container groups need. */
export interface ContainerGroupRoutesOptions {
  readonly groups: ContainerGroups;
  readonly operations: Operations;
  readonly faults: Faults;
  readonly state: State;
  /** @throws {ArmError} ResourceGroupNotFound */
  readonly resourceGroup: (name: string) => ResourceGroup;
}

/** Versions whose fields are those of {@link definitionSchema}, as far as they are simulated. */
export const containerGroupVersions = ['2021-10-01', '2022-09-01', '2023-05-01', '2024-05-01-preview', '2025-09-01'];
/** Most that is given of a running container's output (container-instances-resource-and-quota-limits). */
const logBytesMax = 4 * 1024 * 1024;
const tagsSchema = z.looseObject({ tags: z.record(z.string(), z.string()).nullish() });

/** The routes of container groups. @see https://learn.microsoft.com/rest/api/container-instances */
export function containerGroupRoutes(options: ContainerGroupRoutesOptions): readonly Route[] {
  const { groups, operations, faults, state, resourceGroup } = options;
  const provider = `/subscriptions/{subscription}/providers/Microsoft.ContainerInstance`;
  const inGroup = `/subscriptions/{subscription}/resourceGroups/{resourceGroup}/providers/Microsoft.ContainerInstance/containerGroups`;
  const one = `${inGroup}/{name}`;
  const view = (group: ContainerGroup): object =>
    viewOf(group, { id: groups.idOf(group), tenantId: state.tenantId, fqdn: groups.fqdnOf(group) });
  const find = ({ parameters }: ArmRequest): ContainerGroup =>
    groups.get(resourceGroup(parameters['resourceGroup'] ?? '').name, parameters['name'] ?? '');
  const followed = (group: ContainerGroup, url: URL, id: string, follow: 'status' | 'result'): Record<string, string> =>
    operationHeaders(url, operationsPath(state, group), { id, follow });
  const route = (method: string, path: string, answer: Route['answer']): Route => ({
    method,
    path,
    apiVersions: containerGroupVersions,
    answer,
  });
  return [
    route('GET', `${provider}/containerGroups`, () => ({ status: 200, body: { value: groups.list().map(view) } })),
    route('GET', inGroup, ({ parameters }) => ({
      status: 200,
      body: { value: groups.list(resourceGroup(parameters['resourceGroup'] ?? '').name).map(view) },
    })),
    route('GET', one, (request) => ({ status: 200, body: view(find(request)) })),
    route('PUT', one, async ({ parameters, body, url }) => {
      const within = resourceGroup(parameters['resourceGroup'] ?? '');
      const { group, isNew, operation } = await groups.put(within, parameters['name'] ?? '', parseDefinition(body));
      const headers = operation === undefined ? {} : followed(group, url, operation, 'status');
      return { status: isNew ? 201 : 200, body: view(group), headers };
    }),
    route('PATCH', one, async (request) => {
      const group = find(request);
      await groups.tag(group, parseTags(request.body));
      return { status: 200, body: view(group) };
    }),
    route('DELETE', one, async (request): Promise<ArmAnswer> => {
      const { parameters, url } = request;
      const within = resourceGroup(parameters['resourceGroup'] ?? '').name;
      const group = groups.list(within).find(({ kept }) => kept.name === parameters['name']?.toLowerCase());
      if (group === undefined) return { status: 204 };
      const operation = await groups.delete(group);
      return { status: 202, headers: followed(group, url, operation, 'result') };
    }),
    ...(['start', 'restart'] as const).map((verb) =>
      route('POST', `${one}/${verb}`, async (request) => {
        const group = find(request);
        return { status: 202, headers: followed(group, request.url, await groups.start(group), 'result') };
      }),
    ),
    route('POST', `${one}/stop`, async (request) => {
      await groups.stop(find(request));
      return { status: 204 };
    }),
    route('GET', `${one}/outboundNetworkDependenciesEndpoints`, (request) => {
      find(request);
      return { status: 200, body: [] };
    }),
    route('GET', `${one}/containers/{container}/logs`, (request) => logs(find(request), request)),
    ...(['exec', 'attach'] as const).map((verb) =>
      route('POST', `${one}/containers/{container}/${verb}`, (request) => {
        find(request);
        throw new ArmError(501, 'NotSimulated', `'${verb}' is part of the service, but not of this simulator.`);
      }),
    ),
    ...locationRoutes({ groups, faults, provider, apiVersions: containerGroupVersions }),
    ...operations.routes(`${provider}/locations/{location}`, containerGroupVersions),
  ];
}

function operationsPath({ subscriptionId }: State, { kept }: ContainerGroup): string {
  return `/subscriptions/${subscriptionId}/providers/Microsoft.ContainerInstance/locations/${kept.definition.location}`;
}

async function logs(group: ContainerGroup, { parameters, url }: ArmRequest): Promise<ArmAnswer> {
  const name = parameters['container'] ?? '';
  const container = [...group.containers, ...group.initContainers].find((one) => one.name === name);
  if (container === undefined) {
    throw new ArmError(
      404,
      'ContainerNotFound',
      `The container '${name}' is not in container group '${group.kept.name}'.`,
    );
  }
  const given = url.searchParams.get('tail');
  const tail = given === null ? undefined : Number(given);
  if (tail !== undefined && (!Number.isSafeInteger(tail) || tail < 0)) {
    throw new ArmError(400, 'InvalidTail', `The value '${given}' of tail is invalid, a whole number is required.`);
  }
  const text = await container.logs(tail);
  if (text === undefined) {
    throw new ArmError(
      404,
      'ContainerLogNotAvailable',
      `The logs of container '${name}' in container group '${group.kept.name}' are not available yet.`,
    );
  }
  const bytes = Buffer.from(text);
  const kept = bytes.subarray(Math.max(0, bytes.byteLength - logBytesMax)).toString();
  const isStamped = url.searchParams.get('timestamps') === 'true';
  const startedAt = container.current.startTime ?? new Date().toISOString();
  return { status: 200, body: { content: isStamped ? stampLines(kept, startedAt) : kept } };
}

function parseDefinition(body: unknown): Definition {
  const read = definitionSchema.safeParse(body);
  if (read.success) return read.data;
  throw badBody(read.error);
}

function parseTags(body: unknown): Readonly<Record<string, string>> {
  const read = tagsSchema.safeParse(body ?? {});
  if (read.success) return read.data.tags ?? {};
  throw badBody(read.error);
}

function badBody(error: z.ZodError): ArmError {
  const details = error.issues.map(({ path, message }): ArmErrorDetail => ({
    code: 'InvalidRequestContent',
    target: path.join('.'),
    message,
  }));
  const all = details.map(({ target, message }) => `${target || 'the whole'}: ${message}`).join('; ');
  return new ArmError(
    400,
    'InvalidRequestContent',
    `The request content was invalid and could not be deserialized: ${all}`,
    { details },
  );
}
