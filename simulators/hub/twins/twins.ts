import { EventEmitter } from 'node:events';
import type { Clock } from '../../../shared/clock.ts';
import { HubError } from '../hub-error.ts';
import { type Address, checkEtag } from '../identity/identity.ts';
import type { Registry } from '../identity/registry.ts';
import { type Json, type JsonObject, isObject } from '../json.ts';
import { timeOf } from '../time.ts';
import { checkPatch, checkSize } from './limits.ts';
import { type Twin, mergePatch, patchBetween, patchSection, replaceSection, twinEtag } from './twin.ts';

/** What a back end sends to change a twin. */
export interface TwinChange {
  readonly tags?: JsonObject | null | undefined;
  readonly desired?: JsonObject | null | undefined;
}

interface TwinEvents {
  /** Desired properties changed; the patch is what a subscribed device is sent. */
  readonly desired: [address: Address, patch: JsonObject, version: number];
  /** A device or module has reported. */
  readonly reported: [address: Address];
  /** Tags or reports of a device changed, which target conditions may ask for. */
  readonly changed: [deviceId: string];
}

/**
 * The twins: what is desired of devices and modules, and what they report.
 *
 * Invariants: a change is checked whole before any of it is made; each accepted change counts the versions up by one.
 */
export class Twins {
  readonly events = new EventEmitter<TwinEvents>();
  readonly #registry: Registry;
  readonly #clock: Clock;

  constructor(options: { readonly registry: Registry; readonly clock: Clock }) {
    this.#registry = options.registry;
    this.#clock = options.clock;
  }

  /** Merges tags and desired properties. @throws {HubError} PreconditionFailed, ArgumentInvalid, DeviceModelMaxPropertiesExceeded */
  patch(address: Address, change: TwinChange, ifMatch?: string): void {
    const twin = this.#open(address, ifMatch);
    const tags = change.tags == null ? undefined : this.#checked('Tags', change.tags);
    const patch = change.desired == null ? undefined : this.#checked('Properties.Desired', change.desired);
    let next = twin;
    if (tags !== undefined) next = { ...next, tags: mergePatch(twin.tags, tags) };
    if (patch !== undefined) next = { ...next, desired: patchSection(twin.desired, patch, this.#stamp()) };
    this.#accept(address, { before: twin, after: next, patch });
  }

  /** Replaces tags and desired properties; a part that is not given stays. */
  replace(address: Address, change: TwinChange, ifMatch?: string): void {
    const twin = this.#open(address, ifMatch);
    const tags = change.tags == null ? undefined : this.#checked('Tags', change.tags);
    const desired = change.desired == null ? undefined : this.#checked('Properties.Desired', change.desired);
    let next = twin;
    if (tags !== undefined) next = { ...next, tags: mergePatch({}, tags) };
    if (desired !== undefined) next = { ...next, desired: replaceSection(twin.desired, desired, this.#stamp()) };
    const patch = desired === undefined ? undefined : (patchBetween(twin.desired.value, next.desired.value) ?? {});
    this.#accept(address, { before: twin, after: next, patch });
  }

  /**
   * Makes desired properties be just these, and does nothing when they are already.
   * @returns whether they changed
   */
  setDesired(address: Address, desired: JsonObject): boolean {
    const twin = this.#registry.at(address).twin;
    const value = mergePatch({}, this.#checked('Properties.Desired', desired));
    const patch = patchBetween(twin.desired.value, value);
    if (patch === undefined) return false;
    const after = { ...twin, desired: replaceSection(twin.desired, value, this.#stamp()) };
    this.#accept(address, { before: twin, after, patch });
    return true;
  }

  /** Writes which deployments count for a twin; the twin's version stays, since neither tags nor properties changed. */
  setConfigurations(address: Address, configurations: Twin['configurations']): void {
    const twin = this.#registry.at(address).twin;
    if (JSON.stringify(twin.configurations ?? {}) === JSON.stringify(configurations ?? {})) return;
    this.#registry.putTwin(address, { ...twin, configurations, revision: twin.revision + 1 });
  }

  /** Writes which model a device says it has; like deployments, that is no change of its properties. */
  setModel(address: Address, modelId: string): void {
    const twin = this.#registry.at(address).twin;
    if (twin.modelId === modelId) return;
    this.#registry.putTwin(address, { ...twin, modelId, revision: twin.revision + 1 });
  }

  /**
   * Merges what a device reports.
   * @param version the version that the device believes the reported properties have, if it says so
   * @returns the new version of the reported properties
   */
  report(address: Address, patch: JsonObject, version?: number): number {
    const twin = this.#registry.at(address).twin;
    if (version !== undefined && version !== twin.reported.version) {
      throw new HubError('PreconditionFailed', `The reported properties have version ${twin.reported.version}`);
    }
    const checked = this.#checked('Properties.Reported', patch);
    const reported = patchSection(twin.reported, checked, { ...this.#stamp(), withVersion: false });
    this.#accept(address, { before: twin, after: { ...twin, reported }, patch: undefined });
    this.events.emit('reported', address);
    return reported.version;
  }

  #open(address: Address, ifMatch: string | undefined): Twin {
    const { twin } = this.#registry.at(address);
    checkEtag(ifMatch, twinEtag(twin));
    return twin;
  }

  #accept(
    address: Address,
    change: { readonly before: Twin; readonly after: Twin; readonly patch: JsonObject | undefined },
  ): void {
    const { before, after, patch } = change;
    if (after === before) return;
    if (after.tags !== before.tags) checkSize('Tags', after.tags);
    if (after.desired !== before.desired) checkSize('Properties.Desired', after.desired.value);
    if (after.reported !== before.reported) checkSize('Properties.Reported', after.reported.value);
    this.#registry.putTwin(address, { ...after, version: before.version + 1, revision: before.revision + 1 });
    if (patch !== undefined) this.events.emit('desired', address, patch, after.desired.version);
    // Target conditions speak of a device's tags and reports, not of its modules'.
    const isSeen = after.tags !== before.tags || after.reported !== before.reported;
    if (address.moduleId === undefined && isSeen) this.events.emit('changed', address.deviceId);
  }

  /** Drops what only the hub writes (`$version`, `$metadata`), and checks the rest. */
  #checked(part: 'Tags' | 'Properties.Desired' | 'Properties.Reported', given: JsonObject): JsonObject {
    const { $version: _version, $metadata: _metadata, ...rest } = given;
    checkPatch(part, rest);
    return rest;
  }

  #stamp(): { readonly time: string; readonly withVersion: boolean } {
    return { time: timeOf(this.#clock.nowMs()), withVersion: true };
  }
}

/** Reads a JSON object that a device or back end sent. @throws {HubError} IotHubFormatError */
export function readObject(bytes: Uint8Array | string, what: string): JsonObject {
  let value: Json;
  try {
    value = JSON.parse(typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('utf8')) as Json;
  } catch {
    throw new HubError('IotHubFormatError', `The ${what} is no JSON`);
  }
  if (!isObject(value)) throw new HubError('IotHubFormatError', `The ${what} must be a JSON object`);
  return value;
}
