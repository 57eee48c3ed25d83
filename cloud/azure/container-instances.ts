import type { ContainerGroup, ContainerInstanceManagementClient } from '@azure/arm-containerinstance';
import { setTimeout as sleep } from 'node:timers/promises';
import { withDeadline } from '../../shared/deadline.ts';
import { type ErrorCode, FerryError, isFerryError } from '../../shared/errors.ts';
import type { AzureAccess } from './azure-access.ts';
import { azureFailure } from './azure-failure.ts';

/** How long one call may take, and an operation that Azure goes on with after its answer, in milliseconds. */
const callTimeoutMs = 60_000;
const operationTimeoutMs = 10 * 60_000;
/** Pauses between two tries while a group is transitioning, in milliseconds. */
const busyPauseMs = 500;
const pollMs = 500;

/** What an operation of Azure gives that a caller may wait for. */
interface Poller {
  pollUntilDone(): Promise<unknown>;
}

/** The container groups of one resource group. Every call has a deadline and ends with the command's signal. */
export class ContainerInstances {
  readonly resourceGroup: string;
  readonly #client: ContainerInstanceManagementClient;
  readonly #access: AzureAccess;
  readonly #signal: AbortSignal;

  private constructor(
    client: ContainerInstanceManagementClient,
    access: AzureAccess,
    options: { resourceGroup: string; signal: AbortSignal },
  ) {
    this.#client = client;
    this.#access = access;
    this.#signal = options.signal;
    this.resourceGroup = options.resourceGroup;
  }

  /** Opens it without a call. */
  static async open(
    access: AzureAccess,
    options: { readonly resourceGroup: string; readonly signal: AbortSignal },
  ): Promise<ContainerInstances> {
    const { ContainerInstanceManagementClient: Client } = await import('@azure/arm-containerinstance');
    const { credential, subscription, endpoint } = access;
    return new ContainerInstances(new Client(credential, subscription, { endpoint }), access, options);
  }

  /** Gives a group; undefined when there is none of that name. */
  async find(name: string): Promise<ContainerGroup | undefined> {
    try {
      return await this.#call(
        `look for the container group "${name}"`,
        { ResourceNotFound: 'SERVICE_NOT_FOUND' },
        (abortSignal) => this.#client.containerGroups.get(this.resourceGroup, name, { abortSignal }),
      );
    } catch (error) {
      if (isFerryError(error, 'SERVICE_NOT_FOUND')) return undefined;
      throw error;
    }
  }

  /** Makes a group or changes it; comes back when Azure has taken it. Waits while another operation is under way. */
  async put(name: string, group: ContainerGroup): Promise<void> {
    await this.#whenFree(
      `make the container group "${name}"`,
      { InaccessibleImage: 'IMAGE_NOT_FOUND' },
      (abortSignal) =>
        this.#client.containerGroups.beginCreateOrUpdate(this.resourceGroup, name, group, {
          abortSignal,
          updateIntervalInMs: pollMs,
        }),
    );
  }

  /** Removes a group and waits until it is gone. Says whether there was one. */
  async remove(name: string): Promise<boolean> {
    if ((await this.find(name)) === undefined) return false;
    const doing = `remove the container group "${name}"`;
    const poller = await this.#whenFree<Poller>(doing, {}, (abortSignal) =>
      this.#client.containerGroups.beginDelete(this.resourceGroup, name, { abortSignal, updateIntervalInMs: pollMs }),
    );
    await this.#call(doing, {}, () => poller.pollUntilDone(), operationTimeoutMs);
    return true;
  }

  /** Gives what a container wrote in its last run; empty where there is nothing yet. */
  async logs(name: string, container: string, tail?: number): Promise<string> {
    const known = {
      ContainerLogNotAvailable: 'SERVICE_NOT_FOUND',
      ContainerGroupTransitioning: 'SERVICE_NOT_FOUND',
    } as const;
    try {
      const { content } = await this.#call(`read the output of "${name}"`, known, (abortSignal) =>
        this.#client.containers.listLogs(this.resourceGroup, name, container, {
          abortSignal,
          ...(tail === undefined ? {} : { tail }),
        }),
      );
      return content ?? '';
    } catch (error) {
      if (isFerryError(error, 'SERVICE_NOT_FOUND')) return '';
      throw error;
    }
  }

  /**
   * Gives the region of the resource group.
   * @throws {FerryError} AZURE_REFUSED when there is no such resource group
   */
  async region(): Promise<string> {
    const { credential, endpoint, subscription } = this.#access;
    const doing = `look for the resource group "${this.resourceGroup}"`;
    return await this.#call(doing, {}, async (signal) => {
      const token = await credential.getToken('https://management.azure.com/.default', { abortSignal: signal });
      const path = `/subscriptions/${subscription}/resourceGroups/${encodeURIComponent(this.resourceGroup)}?api-version=2021-04-01`;
      const answer = await fetch(`${endpoint}${path}`, {
        headers: { authorization: `Bearer ${token?.token}` },
        signal,
      });
      const body = (await answer.json()) as { location?: unknown; error?: { message?: unknown } };
      if (answer.ok && typeof body.location === 'string') return body.location;
      throw new FerryError(
        'AZURE_REFUSED',
        `Cannot ${doing}: Azure answered ${answer.status}: ${String(body.error?.message)}`,
      );
    });
  }

  /** Repeats a call while the group is busy with another operation. */
  async #whenFree<T>(
    doing: string,
    known: Readonly<Record<string, ErrorCode>>,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    return await withDeadline({ doing, timeoutMs: operationTimeoutMs, signal: this.#signal }, async (signal) => {
      for (;;) {
        try {
          return await this.#call(doing, { ...known, ContainerGroupTransitioning: 'IN_USE' }, work);
        } catch (error) {
          if (!isFerryError(error, 'IN_USE')) throw error;
          await sleep(busyPauseMs, undefined, { signal });
        }
      }
    });
  }

  async #call<T>(
    doing: string,
    known: Readonly<Record<string, ErrorCode>>,
    work: (signal: AbortSignal) => Promise<T>,
    timeoutMs = callTimeoutMs,
  ): Promise<T> {
    try {
      return await withDeadline({ doing, timeoutMs, signal: this.#signal }, work);
    } catch (error) {
      this.#signal.throwIfAborted();
      throw azureFailure(error, { doing, endpoint: this.#access.endpoint, known });
    }
  }
}
