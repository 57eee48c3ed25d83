import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from '../../../shared/log.ts';
import { type Sources, twinDocument } from '../documents.ts';
import { HubError } from '../hub-error.ts';
import { type Address, isSystemModule } from '../identity/identity.ts';
import type { Registry } from '../identity/registry.ts';
import type { JsonObject } from '../json.ts';
import { type Row, holds } from '../query/evaluate.ts';
import { type Expression, parseCondition } from '../query/parser.ts';
import type { Store } from '../store.ts';
import type { Twins } from '../twins/twins.ts';
import { type Assignment, applyContent, assign, assignPaths } from './assign.ts';
import type { Configuration, Content } from './configuration.ts';
import type { Configurations } from './configurations.ts';

/** How many devices are looked at before others get their turn. */
const devicesPerTurn = 100;

/**
 * Brings the twins to what the configurations say.
 *
 * Invariants: what is done for a device depends only on the configurations and on that device; a second evaluation with nothing
 * changed writes nothing; a device whose twin would break a limit keeps the one it has, and the others go on.
 */
export class Evaluator {
  readonly #registry: Registry;
  readonly #twins: Twins;
  readonly #store: Store;
  readonly #sources: Sources;
  readonly #configurations: Configurations;
  readonly #log: Logger;
  readonly #conditions = new Map<string, Expression | undefined>();
  #dirty = new Set<string>();
  #running: Promise<void> | undefined;

  constructor(options: {
    readonly registry: Registry;
    readonly twins: Twins;
    readonly store: Store;
    readonly sources: Sources;
    readonly configurations: Configurations;
    readonly log: Logger;
  }) {
    this.#registry = options.registry;
    this.#twins = options.twins;
    this.#store = options.store;
    this.#sources = options.sources;
    this.#configurations = options.configurations;
    this.#log = options.log;
  }

  /** Marks a device as one to look at soon. */
  mark(deviceId: string): void {
    this.#dirty.add(deviceId);
    this.#running ??= this.#run();
  }

  /** Marks all devices. */
  markAll(): void {
    this.#conditions.clear();
    for (const deviceId of this.#registry.devices.keys()) this.#dirty.add(deviceId);
    this.#running ??= this.#run();
  }

  /** Waits until every device that was marked has been looked at. */
  async settled(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Sets the content of one device, outside of any deployment. @throws {HubError} DeviceNotFound, ArgumentInvalid */
  applyOnce(deviceId: string, content: Content): void {
    const device = this.#registry.device(deviceId);
    if (content.modulesContent !== undefined && !device.identity.capabilities.iotEdge) {
      throw new HubError('ArgumentInvalid', `The device '${deviceId}' is no IoT Edge device`);
    }
    this.#store.together(() => {
      for (const [moduleId, paths] of Object.entries(content.modulesContent ?? {})) {
        this.#keepModule({ deviceId, moduleId });
        const { twin } = this.#registry.module(deviceId, moduleId);
        this.#twins.setDesired({ deviceId, moduleId }, applyContent(twin.desired.value, paths));
      }
      if (content.deviceContent !== undefined) {
        this.#twins.setDesired({ deviceId }, applyContent(device.twin.desired.value, content.deviceContent));
      }
    });
  }

  async #run(): Promise<void> {
    try {
      // Waits first in any case: a run that ended at once would be kept as the one that goes on.
      do {
        await nextTurn();
        const batch = [...this.#dirty].slice(0, devicesPerTurn);
        for (const deviceId of batch) this.#dirty.delete(deviceId);
        this.#store.together(() => {
          for (const deviceId of batch) this.#evaluateSafely(deviceId);
        });
      } while (this.#dirty.size > 0);
    } finally {
      this.#running = undefined;
    }
  }

  #evaluateSafely(deviceId: string): void {
    if (!this.#registry.devices.has(deviceId)) return;
    try {
      this.#evaluateEdge(deviceId);
      this.#evaluatePaths({ deviceId }, 'deviceContent');
      for (const moduleId of this.#registry.device(deviceId).modules.keys()) {
        // What IoT Edge itself consists of is set by deployments alone.
        if (isSystemModule(moduleId)) continue;
        this.#evaluatePaths({ deviceId, moduleId }, 'moduleContent');
      }
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      this.#log.warn({ deviceId, err: error }, 'the configurations cannot be applied to this device');
    }
  }

  #evaluateEdge(deviceId: string): void {
    const device = this.#registry.device(deviceId);
    const agent = device.modules.get('$edgeAgent');
    if (!device.identity.capabilities.iotEdge || agent === undefined) return;
    const targeting = this.#targeting({ deviceId }, 'modulesContent');
    if (targeting.length === 0 && agent.twin.configurations === undefined) return;
    const { desired, status }: Assignment = assign(targeting);
    for (const [moduleId, value] of desired ?? []) {
      this.#keepModule({ deviceId, moduleId });
      this.#twins.setDesired({ deviceId, moduleId }, value);
    }
    this.#twins.setConfigurations({ deviceId, moduleId: '$edgeAgent' }, targeting.length === 0 ? undefined : status);
  }

  #evaluatePaths(address: Address, part: 'deviceContent' | 'moduleContent'): void {
    const { twin } = this.#registry.at(address);
    const targeting = this.#targeting(address, part);
    if (targeting.length === 0 && twin.configurations === undefined) return;
    const paths = targeting.map((configuration) => ({ configuration, paths: configuration.content[part] ?? {} }));
    const current: JsonObject = twin.desired.value;
    const { desired, status } = assignPaths(paths, current);
    this.#twins.setDesired(address, desired);
    this.#twins.setConfigurations(address, targeting.length === 0 ? undefined : status);
  }

  #targeting(address: Address, part: keyof Content): readonly Configuration[] {
    let row: Row | undefined;
    return [...this.#configurations.all.values()].filter((configuration) => {
      if (configuration.content[part] === undefined) return false;
      const condition = configuration.targetCondition.trim();
      if (condition === '' || condition === '*') return condition === '*';
      row ??= twinDocument(this.#sources, address);
      return holds(this.#conditionOf(condition), row);
    });
  }

  #conditionOf(condition: string): Expression | undefined {
    if (!this.#conditions.has(condition)) this.#conditions.set(condition, parseCondition(condition).where);
    return this.#conditions.get(condition);
  }

  /** Content for a module that is not there yet makes it: its twin has to be somewhere. */
  #keepModule(address: { readonly deviceId: string; readonly moduleId: string }): void {
    if (this.#registry.device(address.deviceId).modules.has(address.moduleId)) return;
    this.#registry.createModule({ ...address, managedBy: 'IotEdge' });
  }
}
