import { randomUUID } from 'node:crypto';
import { ArmError } from './arm-error.ts';
import type { ArmAnswer, Route } from './route.ts';

/** How an operation ended, or that it has not. */
type Outcome =
  | { readonly status: 'InProgress' | 'Succeeded' }
  | { readonly status: 'Failed'; readonly error: { readonly code: string; readonly message: string } };

interface Operation {
  readonly id: string;
  readonly resourceId: string;
  readonly startTime: string;
  endTime?: string;
  outcome: Outcome;
}

/** Operations that are remembered; the oldest ended ones go first. */
const operationsMax = 1000;
/** What `Retry-After` says, in seconds; the service says 10 and more, and everybody would wait for it. */
const retryAfterSeconds = '1';

/**
 * What was begun and goes on after its answer: everybody may ask how far it is.
 * @see https://learn.microsoft.com/azure/azure-resource-manager/management/async-operations
 */
export class Operations {
  readonly #operations = new Map<string, Operation>();
  readonly #running = new Set<Promise<void>>();

  /** Begins work that ends by itself; gives the operation's id. A failure of it is the operation's. */
  begin(resourceId: string, work: () => Promise<void>): string {
    const operation: Operation = {
      id: randomUUID(),
      resourceId,
      startTime: new Date().toISOString(),
      outcome: { status: 'InProgress' },
    };
    this.#operations.set(operation.id, operation);
    this.#forgetOld();
    const running = this.#run(operation, work);
    this.#running.add(running);
    void running.finally(() => this.#running.delete(running));
    return operation.id;
  }

  /** Waits until none is under way. */
  async settle(): Promise<void> {
    await Promise.all(this.#running);
  }

  /** The routes by which clients follow operations, both ways that Resource Manager knows. */
  routes(path: string, apiVersions: readonly string[]): readonly Route[] {
    return [
      {
        method: 'GET',
        path: `${path}/operations/{operation}`,
        apiVersions,
        answer: ({ parameters }) => this.#status(parameters['operation'] ?? ''),
      },
      {
        method: 'GET',
        path: `${path}/operationResults/{operation}`,
        apiVersions,
        answer: ({ parameters, url }) => this.#result(parameters['operation'] ?? '', url),
      },
    ];
  }

  async #run(operation: Operation, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      operation.outcome = { status: 'Succeeded' };
    } catch (error) {
      const { code, message } =
        error instanceof ArmError ? error : { code: 'InternalServerError', message: String(error) };
      operation.outcome = { status: 'Failed', error: { code, message } };
    }
    operation.endTime = new Date().toISOString();
  }

  #find(id: string): Operation {
    const operation = this.#operations.get(id);
    if (operation !== undefined) return operation;
    throw new ArmError(404, 'OperationNotFound', `The operation '${id}' was not found.`);
  }

  #status(id: string): ArmAnswer {
    const { resourceId, startTime, endTime, outcome } = this.#find(id);
    return {
      status: 200,
      headers: outcome.status === 'InProgress' ? { 'retry-after': retryAfterSeconds } : {},
      body: { id: resourceId, name: id, startTime, ...(endTime === undefined ? {} : { endTime }), ...outcome },
    };
  }

  #result(id: string, url: URL): ArmAnswer {
    const { outcome } = this.#find(id);
    if (outcome.status === 'InProgress') {
      return { status: 202, headers: { location: url.href, 'retry-after': retryAfterSeconds } };
    }
    if (outcome.status === 'Failed') return { status: 500, body: { error: outcome.error } };
    return { status: 200 };
  }

  #forgetOld(): void {
    for (const [id, { outcome }] of this.#operations) {
      if (this.#operations.size <= operationsMax) return;
      if (outcome.status !== 'InProgress') this.#operations.delete(id);
    }
  }
}

/**
 * The headers that say where an operation can be followed.
 * @param path absolute path that {@link Operations.routes} was given
 */
export function operationHeaders(
  url: URL,
  path: string,
  { id, follow }: { readonly id: string; readonly follow: 'status' | 'result' },
): Record<string, string> {
  const version = url.searchParams.get('api-version') ?? '';
  const at = (kind: string): string => `${url.origin}${path}/${kind}/${id}?api-version=${version}`;
  return {
    'retry-after': retryAfterSeconds,
    ...(follow === 'status' ? { 'azure-asyncoperation': at('operations') } : { location: at('operationResults') }),
  };
}
