import { z } from 'zod';
import { withDeadline } from '../../shared/deadline.ts';
import { type DeviceConnectionString, parseServiceConnectionString } from '../../shared/edge/connection-string.ts';
import { type ErrorCode, FerryError, isFerryError } from '../../shared/errors.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { hubFailure, refusedAnswer } from './hub-failure.ts';
import {
  bulkAnswerSchema,
  type BulkEntry,
  type BulkFailure,
  conditionTestSchema,
  configurationSchema,
  deviceSchema,
  type HubConfiguration,
  type HubDevice,
  type HubTwin,
  twinSchema,
} from './hub-resources.ts';
import { type HubTransport, openHubTransport } from './hub-transport.ts';
import { whenThereIsRoom } from './when-there-is-room.ts';

/** How long one call may take, in milliseconds. */
const callTimeoutMs = 20_000;
/** Rows of a query's page; the most that a hub gives, and pages that are read at most: a million devices, the most of a hub. */
const pageRows = 1000;
const pagesMax = 1000;
/** Devices of one bulk call, the most that a hub takes. */
const bulkEntriesMax = 100;
/** Version of the service's interface for the calls that the SDK does not have. */
const apiVersion = '2021-04-12';

/** A deployment to put into a hub. */
export interface NewDeployment {
  readonly id: string;
  /** `{ modulesContent }` */
  readonly content: { readonly modulesContent: Readonly<Record<string, Readonly<Record<string, unknown>>>> };
  readonly targetCondition: string;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** What may be changed of a deployment. */
export interface DeploymentChange {
  readonly etag: string;
  readonly targetCondition?: string;
  readonly labels?: Record<string, string>;
}

/** Ways in which one call is meant. */
interface Call<T> {
  readonly doing: string;
  readonly schema: z.ZodType<T>;
  readonly known?: Readonly<Record<number, ErrorCode>>;
  /** Whether it only reads, and is asked again where the hub closed the connection as it was taken up. */
  readonly reads?: boolean;
}

/**
 * The service side of an IoT Hub: devices, twins and deployments. Every call has a deadline, and every failure is a
 * HUB_UNREACHABLE, HUB_UNAUTHORIZED or HUB_REFUSED that says which hub it was, where no other code is named. A hub that is throttling is asked
 * again; OVERLOADED where it had no room for long.
 */
export class HubClient implements Disposable {
  /** Host of the hub, with its port where that is not the standard one. */
  readonly hostName: string;
  readonly #transport: HubTransport;
  readonly #signal: AbortSignal;

  /**
   * Makes a client, without a call.
   * @param signal ends every call
   * @throws {FerryError} CONNECTION_STRING_INVALID
   */
  constructor(connectionString: string, signal: AbortSignal) {
    const parts = parseServiceConnectionString(connectionString);
    this.hostName = parts.hostName;
    this.#transport = openHubTransport(parts);
    this.#signal = signal;
  }

  /**
   * Makes the client of a workspace's hub.
   * @throws {FerryError} ENDPOINT_MISSING when the workspace has no hub
   */
  static async open(workspace: Workspace, signal: AbortSignal): Promise<HubClient> {
    const { hubConnectionString } = await workspace.secrets();
    if (hubConnectionString === undefined) {
      throw new FerryError('ENDPOINT_MISSING', 'Cannot reach devices: the workspace has no IoT Hub', {
        next: 'Start the local one with `ferry up`.',
      });
    }
    return new HubClient(hubConnectionString, signal);
  }

  /**
   * Adds an edge device with tags in its twin; when the tags are refused, the device goes again.
   * @throws {FerryError} DEVICE_EXISTS
   */
  async addEdgeDevice(deviceId: string, tags: Readonly<Record<string, string>>): Promise<HubDevice> {
    const doing = `add the device "${deviceId}"`;
    const description = { deviceId, status: 'enabled', capabilities: { iotEdge: true } };
    const created = await this.#call({ doing, schema: deviceSchema, known: { 409: 'DEVICE_EXISTS' } }, ({ registry }) =>
      registry.create(description),
    );
    if (Object.keys(tags).length === 0) return created;
    try {
      await this.#call({ doing: `tag the device "${deviceId}"`, schema: twinSchema }, ({ registry }) =>
        registry.updateTwin(deviceId, { tags }, '*'),
      );
      return created;
    } catch (error) {
      await this.removeDevice(deviceId);
      throw error;
    }
  }

  /** @throws {FerryError} DEVICE_NOT_FOUND */
  async getDevice(deviceId: string): Promise<HubDevice> {
    const call = { reads: true, doing: `show the device "${deviceId}"`, schema: deviceSchema, known: noDevice };
    return this.#call(call, ({ registry }) => registry.get(deviceId));
  }

  /** @throws {FerryError} DEVICE_NOT_FOUND */
  async removeDevice(deviceId: string): Promise<void> {
    const call = { doing: `remove the device "${deviceId}"`, schema: z.unknown(), known: noDevice };
    await this.#call(call, ({ registry }) => registry.delete(deviceId));
  }

  /**
   * Gives the twin of a device, or of one of its modules.
   * @throws {FerryError} DEVICE_NOT_FOUND
   */
  async getTwin(deviceId: string, moduleId?: string): Promise<HubTwin> {
    const call = {
      reads: true,
      doing: `read the twin of the device "${deviceId}"`,
      schema: twinSchema,
      known: noDevice,
    };
    return this.#call(call, ({ registry }) =>
      moduleId === undefined ? registry.getTwin(deviceId) : registry.getModuleTwin(deviceId, moduleId),
    );
  }

  /** Gives the twins of all devices that a condition on their twins holds for; of all where it is `*`. A hub's index may be seconds old. */
  async findEdgeDevices(condition: string): Promise<HubTwin[]> {
    if (condition.trim() === '') return [];
    const also = condition.trim() === '*' ? '' : ` AND (${condition})`;
    return this.#query(`SELECT * FROM devices WHERE capabilities.iotEdge = true${also}`, twinSchema);
  }

  /** Gives the `$edgeAgent` twins of all edge devices. */
  async listEdgeAgents(): Promise<HubTwin[]> {
    return this.#query("SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent'", twinSchema);
  }

  /** Gives the `$edgeAgent` twins that the hub has put a deployment's name on. */
  async listTargetedEdgeAgents(deploymentId: string): Promise<HubTwin[]> {
    const status = `configurations.[[${deploymentId}]].status`;
    const isTargeted = `(${status} = 'Applied' OR ${status} = 'Targeted')`;
    return this.#query(`SELECT * FROM devices.modules WHERE moduleId = '$edgeAgent' AND ${isTargeted}`, twinSchema);
  }

  async listDeployments(): Promise<HubConfiguration[]> {
    const call = { reads: true, doing: 'list the deployments', schema: z.array(configurationSchema) };
    const all = await this.#call(call, ({ registry }) => registry.getConfigurations());
    return all.filter(({ content }) => content?.modulesContent !== undefined && content.modulesContent !== null);
  }

  /** @throws {FerryError} DEPLOYMENT_NOT_FOUND */
  async getDeployment(id: string): Promise<HubConfiguration> {
    const call = {
      reads: true,
      doing: `show the deployment "${id}"`,
      schema: configurationSchema,
      known: noDeployment,
    };
    return this.#call(call, ({ registry }) => registry.getConfiguration(id));
  }

  async addDeployment(deployment: NewDeployment): Promise<void> {
    const call = { doing: `add the deployment "${deployment.id}"`, schema: z.unknown() };
    const { content, labels, ...rest } = deployment;
    await this.#call(call, ({ registry }) =>
      registry.addConfiguration({
        ...rest,
        schemaVersion: '2.0',
        labels: { ...labels },
        content: { modulesContent: { ...content.modulesContent } },
      }),
    );
  }

  /** @throws {FerryError} DEPLOYMENT_NOT_FOUND */
  async removeDeployment(id: string): Promise<void> {
    const call = { doing: `delete the deployment "${id}"`, schema: z.unknown(), known: noDeployment };
    await this.#call(call, ({ registry }) => registry.removeConfiguration(id));
  }

  /**
   * Changes whom a deployment means and what its labels say, in one step; its content stays, as a hub wants it.
   * @param change `etag` as it was read: whoever has changed it since then makes this fail
   * @throws {FerryError} DEPLOYMENT_NOT_FOUND
   * @throws {FerryError} DEPLOYMENT_CHANGED when the deployment is no longer the one that was read
   */
  async changeDeployment(id: string, change: DeploymentChange): Promise<void> {
    const known = { ...noDeployment, 412: 'DEPLOYMENT_CHANGED' } as const;
    const call = { doing: `change the deployment "${id}"`, schema: z.unknown(), known };
    await this.#call(call, async ({ registry }) => {
      const { responseBody: found } = await registry.getConfiguration(id);
      const { etag, ...wanted } = change;
      // What the hub counts is its own.
      const { systemMetrics: _counts, ...rest } = found;
      return registry.updateConfiguration({ ...rest, ...wanted, etag });
    });
  }

  /** Says what the hub finds wrong with a target condition, if anything. */
  async testTargetCondition(targetCondition: string): Promise<string | undefined> {
    const call = { reads: true, doing: 'have the target condition checked', schema: conditionTestSchema };
    const body = { targetCondition, customMetricQueries: {} };
    const answer = await this.#post(call, '/configurations/testQueries', body);
    return answer.targetConditionError ?? undefined;
  }

  /**
   * Adds, changes or tags many devices, a hundred with each call.
   * @param onDone told how many have been sent
   * @returns why nothing happened to some of them
   */
  async bulk(entries: readonly BulkEntry[], onDone: (sent: number) => void = () => {}): Promise<BulkFailure[]> {
    const failures: BulkFailure[] = [];
    for (let at = 0; at < entries.length; at += bulkEntriesMax) {
      const some = entries.slice(at, at + bulkEntriesMax);
      const call = { doing: `change ${some.length} devices at once`, schema: bulkAnswerSchema };
      // A hub answers 400 where some failed, and says which.
      failures.push(...((await this.#post(call, '/devices', some, { alsoAnswers: 400 })).errors ?? []));
      onDone(Math.min(at + bulkEntriesMax, entries.length));
    }
    return failures;
  }

  /** Counts the rows that a query in the hub's own language gives. */
  async countRows(query: string): Promise<number> {
    return (await this.#query(query, z.unknown())).length;
  }

  /** Replaces desired properties of a device's modules at once, apart from deployments. */
  async applyToDevice(deviceId: string, modulesContent: Readonly<Record<string, unknown>>): Promise<void> {
    const call = { doing: `set the modules of the device "${deviceId}"`, schema: z.unknown(), known: noDevice };
    await this.#call(call, ({ registry }) =>
      registry.applyConfigurationContentOnDevice(deviceId, { modulesContent: { ...modulesContent } }),
    );
  }

  /** Gives a device's primary key as a connection string, a secret. */
  connectionStringOf(device: HubDevice): DeviceConnectionString {
    const key = device.authentication?.symmetricKey?.primaryKey;
    if (key) return { hostName: this.hostName, deviceId: device.deviceId, sharedAccessKey: key };
    throw new FerryError(
      'HUB_REFUSED',
      `Cannot give the connection string of "${device.deviceId}": the hub ${this.hostName} tells no symmetric key of it, a device that signs in with one was wanted`,
    );
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  async #query<T>(text: string, schema: z.ZodType<T>): Promise<T[]> {
    const query = this.#transport.registry.createQuery(text, pageRows);
    const rows: T[] = [];
    for (let page = 0; page < pagesMax && query.hasMoreResults; page += 1) {
      const call = { reads: true, doing: 'query the devices', schema: z.array(schema) };
      // Without the token in hand, the SDK's `next` gives the first page again.
      const next = async () => ({ responseBody: (await query.next(query.continuationToken)).result as unknown });
      rows.push(...(await this.#call(call, next)));
    }
    return rows;
  }

  /** Calls what the SDK has no method for. */
  async #post<T>(
    call: Call<T>,
    path: string,
    body: unknown,
    { alsoAnswers }: { readonly alsoAnswers?: number } = {},
  ): Promise<T> {
    return this.#call(call, async ({ rest }) => {
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const headers = { 'Content-Type': 'application/json; charset=utf-8' };
      const target = `${path}?api-version=${apiVersion}`;
      // The SDK's types say that there is always an error.
      rest.executeApiCall('POST', target, headers, body, (error: Error | null, found) => {
        const answer = error === null ? found : refusedAnswer(error, alsoAnswers);
        if (answer === undefined) reject(error);
        else resolve({ responseBody: answer });
      });
      return (await promise) as { responseBody: unknown };
    });
  }

  async #call<T>(call: Call<T>, work: (transport: HubTransport) => Promise<{ responseBody: unknown }>): Promise<T> {
    const { doing, schema, known = {}, reads = false } = call;
    const ask = () => whenThereIsRoom(() => this.#answer(doing, known, work), this.#signal);
    const answer = await ask().catch((error: unknown) => {
      if (reads && isFerryError(error, 'HUB_UNREACHABLE') && error.message.includes('ECONNRESET')) return ask();
      throw error;
    });
    const result = schema.safeParse(answer);
    if (result.success) return result.data;
    throw new FerryError(
      'HUB_REFUSED',
      `Cannot ${doing}: the hub ${this.hostName} answered something that is not understood: ${z.prettifyError(result.error)}`,
    );
  }

  async #answer(
    doing: string,
    known: Readonly<Record<number, ErrorCode>>,
    work: (transport: HubTransport) => Promise<{ responseBody: unknown }>,
  ): Promise<unknown> {
    const deadline = { doing: `reach the hub ${this.hostName}`, timeoutMs: callTimeoutMs, signal: this.#signal };
    try {
      return (await withDeadline(deadline, () => work(this.#transport))).responseBody;
    } catch (error) {
      this.#signal.throwIfAborted();
      // A mistake of the caller's, not the hub's doing.
      if (error instanceof TypeError) throw error;
      throw hubFailure(error, { doing, hostName: this.hostName, known });
    }
  }
}

const noDevice = { 404: 'DEVICE_NOT_FOUND' } as const;
const noDeployment = { 404: 'DEPLOYMENT_NOT_FOUND' } as const;
