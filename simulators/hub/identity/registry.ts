import { EventEmitter } from 'node:events';
import type { Clock } from '../../../shared/clock.ts';
import { HubError } from '../hub-error.ts';
import type { Store } from '../store.ts';
import { type Twin, newTwin } from '../twins/twin.ts';
import { ticksOf, timeOf } from '../time.ts';
import { completeDevice } from './complete-device.ts';
import {
  type Address,
  type DeviceBody,
  type DeviceIdentity,
  type ModuleBody,
  type ModuleIdentity,
  addressKey,
  checkEtag,
  checkId,
  isSystemModule,
  newEtag,
  readAuthentication,
  systemModuleIds,
} from './identity.ts';

/** Quotas of a hub: 1,000,000 devices, 50 modules a device (the two system modules are counted in). */
const devicesMax = 1_000_000;
const modulesPerDeviceMax = 50;

/** A module as the hub holds it. */
export interface ModuleRecord {
  identity: ModuleIdentity;
  twin: Twin;
}

/** A device as the hub holds it, with its modules by id. */
export interface DeviceRecord {
  identity: DeviceIdentity;
  twin: Twin;
  readonly modules: Map<string, ModuleRecord>;
}

interface RegistryEvents {
  /** A device was made or changed. */
  readonly changed: [deviceId: string];
  /** A device or module is gone: connections, sessions and queues of it have to go too. */
  readonly removed: [address: Address];
  /** A device or module may no longer be whom its connection says (other keys, disabled). */
  readonly credentials: [address: Address];
}

/**
 * The identity registry: who may connect.
 *
 * Invariants: every device and module has a twin; an IoT Edge device has `$edgeAgent` and `$edgeHub`, no other has;
 * a generation id is never given twice; what is held is in the store.
 */
export class Registry {
  readonly events = new EventEmitter<RegistryEvents>();
  readonly devices = new Map<string, DeviceRecord>();
  readonly #store: Store;
  readonly #clock: Clock;
  #lastTicks = 0n;

  constructor(options: { readonly store: Store; readonly clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
    const twins = this.#store.read<Twin>('twin');
    for (const [id, identity] of this.#store.read<DeviceIdentity>('device')) {
      this.devices.set(id, { identity, twin: twins.get(id) ?? newTwin, modules: new Map() });
      this.#noteTicks(identity.generationId);
    }
    for (const [name, identity] of this.#store.read<ModuleIdentity>('module')) {
      const module = { identity, twin: twins.get(name) ?? newTwin };
      this.devices.get(identity.deviceId)?.modules.set(identity.moduleId, module);
      this.#noteTicks(identity.generationId);
    }
  }

  /** @throws {HubError} DeviceNotFound */
  device(deviceId: string): DeviceRecord {
    const record = this.devices.get(deviceId);
    if (record === undefined) throw new HubError('DeviceNotFound', `E404001 DeviceNotFound: device "${deviceId}"`);
    return record;
  }

  /** @throws {HubError} DeviceNotFound or ModuleNotFound */
  module(deviceId: string, moduleId: string): ModuleRecord {
    const record = this.device(deviceId).modules.get(moduleId);
    if (record === undefined) {
      throw new HubError('ModuleNotFound', `E404010 ModuleNotFound: module "${moduleId}" on device "${deviceId}"`);
    }
    return record;
  }

  /** Gives the device or module that an address names. @throws {HubError} DeviceNotFound or ModuleNotFound */
  at({ deviceId, moduleId }: Address): DeviceRecord | ModuleRecord {
    return moduleId === undefined ? this.device(deviceId) : this.module(deviceId, moduleId);
  }

  /** Like {@link at}, for who asks about something that may be gone. */
  find({ deviceId, moduleId }: Address): DeviceRecord | ModuleRecord | undefined {
    const device = this.devices.get(deviceId);
    return moduleId === undefined ? device : device?.modules.get(moduleId);
  }

  /**
   * Makes a device with its twin, and the two system modules if it is an IoT Edge device.
   * @throws {HubError} DeviceAlreadyExists, ArgumentInvalid
   */
  createDevice(body: DeviceBody, twin: Pick<Twin, 'tags' | 'desired'> = newTwin): DeviceIdentity {
    checkId('device', body.deviceId);
    if (this.devices.has(body.deviceId)) {
      throw new HubError('DeviceAlreadyExists', `A device with ID '${body.deviceId}' is already registered.`);
    }
    if (this.devices.size >= devicesMax) {
      throw new HubError('ArgumentInvalid', `A hub holds ${devicesMax} devices at most`);
    }
    const generationId = this.#newGeneration();
    const iotEdge = body.capabilities?.iotEdge ?? false;
    const identity = completeDevice(body, {
      deviceId: body.deviceId,
      generationId,
      now: timeOf(this.#clock.nowMs()),
      deviceScope: iotEdge ? `ms-azure-iot-edge://${body.deviceId}-${generationId}` : null,
    });
    const record: DeviceRecord = { identity, twin: { ...newTwin, ...twin }, modules: new Map() };
    this.#store.together(() => {
      this.#putDevice(record);
      this.#store.put('twin', body.deviceId, record.twin);
      this.#keepSystemModules(record);
    });
    this.events.emit('changed', body.deviceId);
    return identity;
  }

  /** Replaces what callers may set of a device. @throws {HubError} DeviceNotFound, PreconditionFailed, ArgumentInvalid */
  updateDevice(body: DeviceBody, ifMatch: string | undefined): DeviceIdentity {
    const record = this.device(body.deviceId);
    const before = record.identity;
    checkEtag(ifMatch, before.etag);
    const iotEdge = body.capabilities?.iotEdge ?? false;
    const own = `ms-azure-iot-edge://${before.deviceId}-${before.generationId}`;
    const identity = completeDevice(body, {
      ...before,
      deviceScope: iotEdge ? own : null,
      now: timeOf(this.#clock.nowMs()),
    });
    this.#store.together(() => {
      record.identity = identity;
      this.#putDevice(record);
      this.#keepSystemModules(record);
    });
    if (identity.status === 'disabled' || !sameCredentials(identity, before)) {
      this.events.emit('credentials', { deviceId: body.deviceId });
    }
    this.events.emit('changed', body.deviceId);
    return identity;
  }

  /** Removes a device, its modules and all twins. @throws {HubError} DeviceNotFound, PreconditionFailed */
  removeDevice(deviceId: string, ifMatch: string | undefined): void {
    const record = this.device(deviceId);
    checkEtag(ifMatch, record.identity.etag);
    this.#store.together(() => {
      for (const moduleId of record.modules.keys()) this.#removeModule(record, moduleId);
      this.devices.delete(deviceId);
      this.#store.remove('device', deviceId);
      this.#store.remove('twin', deviceId);
    });
    this.events.emit('removed', { deviceId });
  }

  /** Makes a module with its twin. @throws {HubError} DeviceNotFound, ModuleAlreadyExistsOnDevice, TooManyModulesOnDevice */
  createModule(body: ModuleBody): ModuleIdentity {
    const device = this.device(body.deviceId);
    checkId('module', body.moduleId);
    if (device.modules.has(body.moduleId)) {
      throw new HubError(
        'ModuleAlreadyExistsOnDevice',
        `A module with ID '${body.moduleId}' already exists on device '${body.deviceId}'.`,
      );
    }
    if (device.modules.size >= modulesPerDeviceMax) {
      throw new HubError('TooManyModulesOnDevice', `A device has ${modulesPerDeviceMax} modules at most`);
    }
    if (isSystemModule(body.moduleId)) {
      throw new HubError('SystemModuleModifyUnauthorizedAccess', `The module '${body.moduleId}' is the system's own`);
    }
    return this.#addModule(device, body).identity;
  }

  /**
   * Replaces what callers may set of a module.
   * @throws {HubError} DeviceNotFound, ModuleNotFound, PreconditionFailed, ArgumentInvalid
   */
  updateModule(body: ModuleBody, ifMatch: string | undefined): ModuleIdentity {
    const record = this.module(body.deviceId, body.moduleId);
    const before = record.identity;
    checkEtag(ifMatch, before.etag);
    record.identity = {
      ...before,
      managedBy: body.managedBy ?? null,
      etag: newEtag(),
      authentication: body.authentication == null ? before.authentication : readAuthentication(body.authentication),
    };
    this.#store.put('module', addressKey(body), record.identity);
    if (!sameCredentials(record.identity, before)) this.events.emit('credentials', body);
    return record.identity;
  }

  /**
   * Removes a module and its twin.
   * @throws {HubError} DeviceNotFound, ModuleNotFound, PreconditionFailed, SystemModuleModifyUnauthorizedAccess
   */
  removeModule(address: Required<Address> & { readonly moduleId: string }, ifMatch: string | undefined): void {
    const device = this.device(address.deviceId);
    const module = this.module(address.deviceId, address.moduleId);
    checkEtag(ifMatch, module.identity.etag);
    if (isSystemModule(address.moduleId)) {
      throw new HubError(
        'SystemModuleModifyUnauthorizedAccess',
        `The module '${address.moduleId}' is the system's own`,
      );
    }
    this.#store.together(() => this.#removeModule(device, address.moduleId));
  }

  /** Writes a changed twin down; only {@link Twins} calls it. */
  putTwin(address: Address, twin: Twin): void {
    this.at(address).twin = twin;
    this.#store.put('twin', addressKey(address), twin);
  }

  #keepSystemModules(record: DeviceRecord): void {
    const { deviceId, capabilities } = record.identity;
    for (const moduleId of systemModuleIds) {
      if (!capabilities.iotEdge) {
        if (record.modules.has(moduleId)) this.#removeModule(record, moduleId);
      } else if (!record.modules.has(moduleId)) {
        this.#addModule(record, { deviceId, moduleId, authentication: { type: 'none' } });
      }
    }
  }

  #addModule(device: DeviceRecord, body: ModuleBody): ModuleRecord {
    const record: ModuleRecord = {
      identity: {
        deviceId: body.deviceId,
        moduleId: body.moduleId,
        managedBy: body.managedBy ?? null,
        generationId: this.#newGeneration(),
        etag: newEtag(),
        authentication: readAuthentication(body.authentication),
      },
      twin: newTwin,
    };
    device.modules.set(body.moduleId, record);
    this.#store.put('module', addressKey(body), record.identity);
    this.#store.put('twin', addressKey(body), record.twin);
    return record;
  }

  #removeModule(device: DeviceRecord, moduleId: string): void {
    const address = { deviceId: device.identity.deviceId, moduleId };
    device.modules.delete(moduleId);
    this.#store.remove('module', addressKey(address));
    this.#store.remove('twin', addressKey(address));
    this.events.emit('removed', address);
  }

  #putDevice(record: DeviceRecord): void {
    this.devices.set(record.identity.deviceId, record);
    this.#store.put('device', record.identity.deviceId, record.identity);
  }

  #newGeneration(): string {
    const now = ticksOf(this.#clock.nowMs());
    this.#lastTicks = now > this.#lastTicks ? now : this.#lastTicks + 1n;
    return String(this.#lastTicks);
  }

  #noteTicks(generationId: string): void {
    const ticks = BigInt(generationId);
    if (ticks > this.#lastTicks) this.#lastTicks = ticks;
  }
}

function sameCredentials(
  left: Pick<DeviceIdentity, 'authentication'>,
  right: Pick<DeviceIdentity, 'authentication'>,
): boolean {
  return JSON.stringify(left.authentication) === JSON.stringify(right.authentication);
}
