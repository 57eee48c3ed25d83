import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { type DeviceConnectionString, formatDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { FerryError, messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { retryDelayMs } from './backoff.ts';

/** The settings of {@link ModuleIdentities}. */
export interface ModuleIdentitiesOptions {
  readonly device: DeviceConnectionString;
  /** Gives the time as the hub has it, in milliseconds. */
  readonly hubNowMs: () => number;
  readonly clock: Clock;
  readonly log: Logger;
}

const modulesSchema = z.array(
  z.object({
    moduleId: z.string(),
    managedBy: z.string().nullish(),
    authentication: z.object({ symmetricKey: z.object({ primaryKey: z.string().nullish() }).nullish() }).nullish(),
  }),
);

/** The identities of a device's modules that are its agent's own to remove (IoT Edge: `ModuleIdentityEdgeManagedByValue`). */
const manager = 'IotEdge';
/** What edgelet's own client asks with. */
const apiVersion = '2017-11-08-preview';
/** How long the hub may take to answer, in milliseconds. */
const answerTimeoutMs = 30_000;
/** How long a token is good, in seconds; it is used at once. */
const tokenSeconds = 300;

/**
 * Keeps the identities of a device's modules in its hub: each module of the deployment has one, with keys that follow from the device's, so
 * that a module can be given its own before the hub is reached. What the agent or the deployment made and nobody wants is
 * removed, what somebody else made is left.
 */
export class ModuleIdentities {
  readonly #options: ModuleIdentitiesOptions;
  #wanted: ReadonlySet<string> | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(options: ModuleIdentitiesOptions) {
    this.#options = options;
  }

  /** Takes which modules are to have an identity from now on. */
  want(modules: Iterable<string>): void {
    this.#wanted = new Set(modules);
    this.#wake.resolve();
  }

  /** Variables that IoT Edge gives to every module, as far as there is something behind them here. */
  environmentOf(module: string): Record<string, string> {
    const { device } = this.#options;
    const sharedAccessKey = this.#key(module, 'primary');
    return {
      IOTEDGE_DEVICEID: device.deviceId,
      IOTEDGE_MODULEID: module,
      IOTEDGE_IOTHUBHOSTNAME: device.hostName,
      // Microsoft's module SDKs sign in with it to the hub itself, where there is no workload API.
      EdgeHubConnectionString: formatDeviceConnectionString({ ...device, moduleId: module, sharedAccessKey }),
    };
  }

  /** Works until the signal is aborted; what fails is tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    signal.addEventListener('abort', () => this.#wake.resolve(), { once: true });
    for (let failures = 0; !signal.aborted;) {
      const wanted = this.#wanted;
      this.#wanted = undefined;
      this.#wake = Promise.withResolvers();
      try {
        if (wanted !== undefined) await this.#bringInLine(wanted, signal);
        failures = 0;
        await this.#wake.promise;
      } catch (error) {
        if (signal.aborted) return;
        this.#wanted ??= wanted;
        failures += 1;
        log.warn({ why: messageOf(error) }, "could not bring the modules' identities in line");
        await clock.sleep(retryDelayMs(failures), signal).catch(() => undefined);
      }
    }
  }

  async #bringInLine(wanted: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    const modules = modulesSchema.parse(await this.#ask('GET', '', { signal }));
    const found = new Map(modules.map((module) => [module.moduleId, module]));
    for (const name of wanted) {
      const module = found.get(name);
      if (module?.authentication?.symmetricKey?.primaryKey === this.#key(name, 'primary')) continue;
      await this.#put(name, module, signal);
      log.info({ module: name }, 'the module has an identity in the hub');
    }
    for (const { moduleId, managedBy } of modules) {
      // `$edgeAgent` and `$edgeHub` are the hub's own.
      if (wanted.has(moduleId) || moduleId.startsWith('$')) continue;
      if (managedBy?.toLowerCase() !== manager.toLowerCase()) continue;
      await this.#ask('DELETE', moduleId, { ifMatch: '*', signal });
      log.info({ module: moduleId }, "the module's identity is removed from the hub");
    }
  }

  /** Makes an identity, or gives the one that is there the keys that this module has. */
  async #put(
    moduleId: string,
    before: z.infer<typeof modulesSchema>[number] | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const symmetricKey = {
      primaryKey: this.#key(moduleId, 'primary'),
      secondaryKey: this.#key(moduleId, 'secondary'),
    };
    const { deviceId } = this.#options.device;
    const managedBy = before === undefined ? manager : before.managedBy;
    const body = { deviceId, moduleId, managedBy, authentication: { type: 'sas', symmetricKey } };
    await this.#ask('PUT', moduleId, { body, signal, ...(before === undefined ? {} : { ifMatch: '*' }) });
  }

  #key(module: string, which: 'primary' | 'secondary'): string {
    return this.#sign(`modelferry module ${module} ${which}`);
  }

  #sign(content: string): string {
    return createHmac('sha256', Buffer.from(this.#options.device.sharedAccessKey, 'base64'))
      .update(content)
      .digest('base64');
  }

  async #ask(
    method: 'GET' | 'PUT' | 'DELETE',
    moduleId: string,
    { body, ifMatch, signal }: { readonly body?: unknown; readonly ifMatch?: string; readonly signal: AbortSignal },
  ): Promise<unknown> {
    const { hostName, gatewayHostName, deviceId } = this.#options.device;
    const { hostname, port } = new URL(`https://${gatewayHostName ?? hostName}`);
    const what = moduleId === '' ? '' : `/${encodeURIComponent(moduleId)}`;
    const asking = request({
      host: hostname,
      port: port === '' ? 443 : port,
      method,
      path: `/devices/${encodeURIComponent(deviceId)}/modules${what}?api-version=${apiVersion}`,
      headers: {
        authorization: this.#token(),
        'content-type': 'application/json',
        ...(ifMatch === undefined ? {} : { 'if-match': ifMatch }),
      },
      agent: false,
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]),
    });
    asking.end(body === undefined ? undefined : JSON.stringify(body));
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    const said = await text(answer);
    const { statusCode = 0 } = answer;
    if (statusCode < 300) return said === '' ? undefined : JSON.parse(said);
    throw new FerryError('HUB_REFUSED', `Cannot ${method} module identities: the hub answers ${statusCode}`, {
      cause: new Error(said.slice(0, 300)),
    });
  }

  /** @see https://learn.microsoft.com/azure/iot-hub/iot-hub-dev-guide-sas */
  #token(): string {
    const { device, hubNowMs } = this.#options;
    const audience = encodeURIComponent(`${device.hostName}/devices/${device.deviceId}`.toLowerCase());
    const expiry = Math.ceil(hubNowMs() / 1000) + tokenSeconds;
    const signature = encodeURIComponent(this.#sign(`${audience}\n${expiry}`));
    return `SharedAccessSignature sr=${audience}&sig=${signature}&se=${expiry}`;
  }
}
