import { z } from 'zod';
import type { Clock } from '../../shared/clock.ts';
import { formatDeviceConnectionString } from '../../shared/edge/connection-string.ts';
import { messageOf } from '../../shared/errors.ts';
import type { Logger } from '../../shared/log.ts';
import { askHub, type ModulesRequest } from './ask-hub.ts';
import { retryDelayMs } from './backoff.ts';
import { type DeviceIdentity, moduleKey } from './device-identity.ts';

/** The settings of {@link ModuleIdentities}. */
export interface ModuleIdentitiesOptions {
  readonly identity: DeviceIdentity;
  /** Gives the time as the hub has it, in milliseconds. */
  readonly hubNowMs: () => number;
  readonly clock: Clock;
  readonly log: Logger;
}

const moduleSchema = z.object({
  moduleId: z.string(),
  managedBy: z.string().nullish(),
  authentication: z.object({ symmetricKey: z.object({ primaryKey: z.string().nullish() }).nullish() }).nullish(),
});

/** What the agent is to its hub: the hub makes it with the device. */
const agentModule = '$edgeAgent';

/** The identities of a device's modules that are its agent's own to remove (IoT Edge: `ModuleIdentityEdgeManagedByValue`). */
const manager = 'IotEdge';

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
    const { device } = this.#options.identity;
    const sharedAccessKey = this.#key(module, 'primary');
    return {
      IOTEDGE_DEVICEID: device.deviceId,
      IOTEDGE_MODULEID: module,
      IOTEDGE_IOTHUBHOSTNAME: device.hostName,
      // Microsoft's module SDKs sign in with it to the hub itself, where there is no workload API.
      EdgeHubConnectionString: formatDeviceConnectionString({ ...device, moduleId: module, sharedAccessKey }),
    };
  }

  /**
   * Gives the key that the agent signs in with as `$edgeAgent`: the device's own. A device with a certificate has none, and modules may not sign in with
   * one, so it gives the module a key first, as IoT Edge does.
   * @throws {FerryError} HUB_UNAUTHORIZED when the hub does not know the certificate
   */
  async agentKey(signal: AbortSignal): Promise<string> {
    const { device } = this.#options.identity;
    if (device.sharedAccessKey !== undefined) return device.sharedAccessKey;
    const key = this.#key(agentModule, 'primary');
    const module = moduleSchema.parse(await this.#ask('GET', agentModule, { signal }));
    if (module.authentication?.symmetricKey?.primaryKey !== key) await this.#put(agentModule, module, signal);
    return key;
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
    const modules = z.array(moduleSchema).parse(await this.#ask('GET', '', { signal }));
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
  async #put(moduleId: string, before: z.infer<typeof moduleSchema> | undefined, signal: AbortSignal): Promise<void> {
    const symmetricKey = {
      primaryKey: this.#key(moduleId, 'primary'),
      secondaryKey: this.#key(moduleId, 'secondary'),
    };
    const { deviceId } = this.#options.identity.device;
    const managedBy = before === undefined ? manager : before.managedBy;
    const body = { deviceId, moduleId, managedBy, authentication: { type: 'sas', symmetricKey } };
    await this.#ask('PUT', moduleId, { body, signal, ...(before === undefined ? {} : { ifMatch: '*' }) });
  }

  #key(module: string, which: 'primary' | 'secondary'): string {
    return moduleKey(this.#options.identity, module, which);
  }

  #ask(
    method: ModulesRequest['method'],
    moduleId: string,
    more: Pick<ModulesRequest, 'body' | 'ifMatch' | 'signal'>,
  ): Promise<unknown> {
    const { identity, hubNowMs } = this.#options;
    return askHub(identity, { method, moduleId, hubNowMs: hubNowMs(), ...more });
  }
}
