import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { messageOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import { ArmError, resourceNotFound } from '../arm-error.ts';
import type { Operations } from '../operations.ts';
import { regionOf, regions } from '../regions.ts';
import type { ResourceGroup, StateFile } from '../state.ts';
import type { Definition } from './definition.ts';
import { ContainerGroup, type GroupParts } from './group.ts';
import { credentialFor } from './registry-credential.ts';
import { checkDefinition } from './rules.ts';

/** What the container groups need beside what each of them does. */
export interface GroupsParts extends GroupParts {
  readonly file: StateFile;
  readonly operations: Operations;
  /** Where volumes are kept. */
  readonly folder: string;
  readonly log: Logger;
}

/** How long asking a registry for an image may take when a group is created, in milliseconds. */
const imageCheckTimeoutMs = 30_000;
/** Last number of the highest address: each group has one of its own in 127.a.b.0/24. */
const addressMax = 254;

/** All container groups of the subscription. */
export class ContainerGroups {
  readonly #parts: GroupsParts;
  readonly #groups = new Map<string, ContainerGroup>();
  readonly #busy = new Set<string>();

  constructor(parts: GroupsParts) {
    this.#parts = parts;
  }

  /** Takes up the groups that an earlier run has kept: those that were not stopped are started. */
  async open(): Promise<void> {
    const { file, pulling } = this.#parts;
    // What an earlier run left behind when it was killed.
    for (const { name } of await pulling.engine.list()) {
      await pulling.engine.stop(name, { graceMs: 0 });
      await pulling.engine.remove(name);
    }
    await rm(this.#parts.folder, { recursive: true, force: true });
    for (const kept of file.state.containerGroups) {
      const group = this.#make(kept);
      if (kept.isStopped) group.provisioningState = 'Succeeded';
      else this.#begin(group, () => group.provision());
    }
  }

  /** Ends every container; the groups are there again the next time. */
  async close(): Promise<void> {
    for (const group of this.#groups.values()) {
      await group
        .stop()
        .catch((error: unknown) => this.#parts.log.warn({ why: messageOf(error) }, 'could not stop it'));
      await group
        .clear()
        .catch((error: unknown) => this.#parts.log.warn({ why: messageOf(error) }, 'could not clear it'));
    }
    await this.#parts.operations.settle();
  }

  list(resourceGroup?: string): readonly ContainerGroup[] {
    return [...this.#groups.values()].filter(
      ({ kept }) => resourceGroup === undefined || kept.resourceGroup.toLowerCase() === resourceGroup.toLowerCase(),
    );
  }

  /** @throws {ArmError} ResourceNotFound */
  get(resourceGroup: string, name: string): ContainerGroup {
    const group = this.#groups.get(keyOf({ resourceGroup, name }));
    if (group !== undefined) return group;
    throw resourceNotFound(`Microsoft.ContainerInstance/containerGroups/${name}`, resourceGroup);
  }

  /**
   * Makes a group, or changes the one that is there; the same again changes nothing.
   * @throws {ArmError} when the service would refuse it
   */
  async put(
    resourceGroup: ResourceGroup,
    name: string,
    given: Definition,
  ): Promise<{ readonly group: ContainerGroup; readonly isNew: boolean; readonly operation?: string }> {
    const before = this.#groups.get(keyOf({ resourceGroup: resourceGroup.name, name }));
    const definition = { ...given, location: regionOf(given.location ?? resourceGroup.location) };
    if (!(definition.location in regions)) {
      throw new ArmError(
        400,
        'LocationNotAvailableForResourceType',
        `The provided location '${definition.location}' is not available for resource type 'Microsoft.ContainerInstance/containerGroups'. List of available regions for the resource type is '${Object.keys(regions).join(',')}'.`,
      );
    }
    checkDefinition(name, definition);
    if (before !== undefined) {
      this.#checkFree(before);
      checkUpdate(before, definition);
    }
    this.#checkLabel(name, definition, before);
    this.#checkRoom(definition, before);
    const isSame = before !== undefined && isDeepStrictEqual(before.kept.definition, definition);
    if (isSame && before.provisioningState !== 'Failed' && !before.kept.isStopped)
      return { group: before, isNew: false };
    await this.#checkImages(name, definition);
    // Somebody else may have been quicker meanwhile.
    if (this.#groups.get(keyOf({ resourceGroup: resourceGroup.name, name })) !== before) throw transitioning(name);
    if (before !== undefined) this.#checkFree(before);
    this.#checkLabel(name, definition, before);
    this.#checkRoom(definition, before);
    const kept = {
      resourceGroup: resourceGroup.name,
      name,
      ip: before?.kept.ip ?? this.#freeAddress(),
      isStopped: false,
      principalId: before?.kept.principalId ?? randomUUID(),
      definition,
    };
    if (before === undefined) {
      const group = this.#make(kept);
      const operation = this.#begin(group, () => group.provision());
      await this.#save();
      return { group, isNew: true, operation };
    }
    const operation = this.#begin(before, () => before.provision());
    // Who asks sees what was accepted, as soon as it is.
    before.kept = kept;
    before.provisioningState = 'Pending';
    await this.#save();
    return { group: before, isNew: false, operation };
  }

  /** Changes a group's tags alone. */
  async tag(group: ContainerGroup, tags: Readonly<Record<string, string>>): Promise<void> {
    group.kept = { ...group.kept, definition: { ...group.kept.definition, tags: { ...tags } } };
    await this.#save();
  }

  /** @throws {ArmError} ContainerGroupTransitioning */
  async stop(group: ContainerGroup): Promise<void> {
    this.#checkFree(group);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#begin(group, () => group.stop().then(resolve, reject));
    await promise;
    group.kept = { ...group.kept, isStopped: true };
    await this.#save();
  }

  /** Starts a group, again where it runs. @throws {ArmError} ContainerGroupTransitioning */
  async start(group: ContainerGroup): Promise<string> {
    this.#checkFree(group);
    const operation = this.#begin(group, () => group.provision());
    group.kept = { ...group.kept, isStopped: false };
    await this.#save();
    return operation;
  }

  /** Begins to remove a group, whatever it does now; gives the operation's id. */
  async delete(group: ContainerGroup): Promise<string> {
    const { promise: forgotten, resolve, reject } = Promise.withResolvers<void>();
    const operation = this.#parts.operations.begin(this.idOf(group), () =>
      this.remove(group, resolve).catch((error: unknown) => {
        reject(error);
        throw error;
      }),
    );
    await forgotten;
    return operation;
  }

  /** Removes a group, whatever it does now. @param onForgotten is called when it is no longer to be found */
  async remove(group: ContainerGroup, onForgotten?: () => void): Promise<void> {
    this.#groups.delete(keyOf(group.kept));
    await this.#save();
    onForgotten?.();
    await group.stop();
    await group.remove();
  }

  idOf({ kept }: ContainerGroup): string {
    const { subscriptionId } = this.#parts.file.state;
    return `/subscriptions/${subscriptionId}/resourceGroups/${kept.resourceGroup}/providers/Microsoft.ContainerInstance/containerGroups/${kept.name}`;
  }

  /** The group's name in the DNS of the service, which no resolver of this machine knows. */
  fqdnOf({ kept }: ContainerGroup): string | undefined {
    const { location, properties } = kept.definition;
    const label = properties.ipAddress?.dnsNameLabel;
    if (label == null) return undefined;
    const { tenantId, subscriptionId } = this.#parts.file.state;
    // how-to-reuse-dns-names: the wider the reuse, the less goes into the hash.
    const scopes = {
      TenantReuse: [tenantId],
      SubscriptionReuse: [tenantId, subscriptionId],
      ResourceGroupReuse: [tenantId, subscriptionId, kept.resourceGroup],
      Noreuse: [tenantId, subscriptionId, kept.resourceGroup, kept.principalId],
    };
    const scope = properties.ipAddress?.autoGeneratedDomainNameLabelScope ?? 'Unsecure';
    const hash = scope === 'Unsecure' ? '' : `.${hashOf(scopes[scope].join('/')).slice(0, 16)}`;
    return `${label}${hash}.${location}.azurecontainer.io`;
  }

  /** What of a region's quotas is used. */
  usage(region: string): { readonly groups: number; readonly cores: number } {
    const there = this.list().filter(({ kept }) => kept.definition.location === regionOf(region));
    return { groups: there.length, cores: there.reduce((sum, { kept }) => sum + coresOf(kept.definition), 0) };
  }

  #make(kept: ContainerGroup['kept']): ContainerGroup {
    // Of this one only: a group of the same name may be on its way out.
    const engineName = randomBytes(5).toString('hex');
    const group = new ContainerGroup(kept, this.#parts, { engineName, folder: join(this.#parts.folder, engineName) });
    this.#groups.set(keyOf(kept), group);
    return group;
  }

  #begin(group: ContainerGroup, work: () => Promise<void>): string {
    const key = keyOf(group.kept);
    this.#busy.add(key);
    return this.#parts.operations.begin(this.idOf(group), () => work().finally(() => this.#busy.delete(key)));
  }

  async #save(): Promise<void> {
    const { file } = this.#parts;
    file.state.containerGroups = [...this.#groups.values()].map(({ kept }) => kept);
    await file.save();
  }

  #checkFree({ kept }: ContainerGroup): void {
    if (this.#busy.has(keyOf(kept))) throw transitioning(kept.name);
  }

  #checkLabel(name: string, definition: Definition, before: ContainerGroup | undefined): void {
    const label = definition.properties.ipAddress?.dnsNameLabel;
    const scope = definition.properties.ipAddress?.autoGeneratedDomainNameLabelScope ?? 'Unsecure';
    if (label == null || scope !== 'Unsecure') return;
    const isTaken = this.list().some(
      (group) =>
        group !== before &&
        group.kept.definition.location === definition.location &&
        group.kept.definition.properties.ipAddress?.dnsNameLabel === label,
    );
    if (!isTaken) return;
    throw new ArmError(
      400,
      'DnsNameLabelAlreadyTaken',
      `The DNS name label '${label}' in container group '${name}' is not available. Try using a different label.`,
    );
  }

  #checkRoom(definition: Definition, before: ContainerGroup | undefined): void {
    const { fullRegions, containerGroupsMax, coresMax } = this.#parts.faults.settings;
    const region = definition.location ?? '';
    const cores = coresOf(definition);
    if (fullRegions.map(regionOf).includes(region)) {
      throw new ArmError(
        409,
        'ServiceUnavailable',
        `The requested resource is not available in the location '${region}' at this moment. Please retry with a different resource request or in another location. Resource requested: '${cores}' CPU 'Linux' OS.`,
      );
    }
    const used = this.usage(region);
    const more = {
      groups: before === undefined ? 1 : 0,
      cores: cores - (before === undefined ? 0 : coresOf(before.kept.definition)),
    };
    const quotas = [
      { name: 'ContainerGroups', used: used.groups, more: more.groups, limit: containerGroupsMax },
      { name: 'StandardCores', used: used.cores, more: more.cores, limit: coresMax },
    ];
    const exceeded = quotas.find((quota) => quota.more > 0 && quota.used + quota.more > quota.limit);
    if (exceeded === undefined) return;
    throw new ArmError(
      409,
      'ContainerGroupQuotaReached',
      `Resource type 'Microsoft.ContainerInstance/containerGroups' container group quota '${exceeded.name}' exceeded in region '${region}'. Limit: '${exceeded.limit}', Usage: '${exceeded.used}' Requested: '${exceeded.more}'.`,
    );
  }

  /** Asks the registries, with the credentials that were given, before anything is made. */
  async #checkImages(name: string, definition: Definition): Promise<void> {
    const { containers, initContainers } = definition.properties;
    const images = [...containers, ...(initContainers ?? [])].map(({ properties }) => properties.image);
    for (const image of new Set(images)) {
      try {
        const signal = AbortSignal.timeout(imageCheckTimeoutMs);
        await this.#parts.pulling.check(image, { credential: credentialFor(image, definition), signal });
      } catch (error) {
        this.#parts.log.info({ image, why: messageOf(error) }, 'an image is not accessible');
        throw new ArmError(
          400,
          'InaccessibleImage',
          `The image '${image}' in container group '${name}' is not accessible. Please check the image and registry credential.`,
        );
      }
    }
  }

  #freeAddress(): string {
    const taken = new Set(this.list().map(({ kept }) => kept.ip));
    // Two simulators on one machine differ by their owners.
    const bytes = Buffer.from(hashOf(this.#parts.file.state.owner), 'hex');
    const network = `127.${64 + ((bytes[0] ?? 0) % 128)}.${bytes[1] ?? 0}`;
    for (let last = 1; last <= addressMax; last += 1) {
      if (!taken.has(`${network}.${last}`)) return `${network}.${last}`;
    }
    throw new ArmError(409, 'ServiceUnavailable', `All ${addressMax} addresses of this simulator are taken.`);
  }
}

/** What the service does not change in place (container-instances-update, "Properties that require container delete"). */
function checkUpdate({ kept }: ContainerGroup, after: Definition): void {
  const fixed = ({ location, properties }: Definition): unknown => [
    location,
    properties.osType,
    properties.restartPolicy ?? 'Always',
    properties.containers.map(({ properties: { resources } }) => resources),
  ];
  if (isDeepStrictEqual(fixed(kept.definition), fixed(after))) return;
  throw new ArmError(
    400,
    'InvalidContainerGroupUpdate',
    `The updates on container group '${kept.name}' are invalid. If you are going to update the os type, restart policy, network profile, CPU, memory or GPU resources for a container group, you must delete it first and then create a new one.`,
  );
}

function transitioning(name: string): ArmError {
  return new ArmError(
    409,
    'ContainerGroupTransitioning',
    `The container group '${name}' is still transitioning, please retry later.`,
  );
}

function coresOf({ properties }: Definition): number {
  return properties.containers.reduce((sum, container) => sum + (container.properties.resources.requests.cpu ?? 0), 0);
}

function keyOf({ resourceGroup, name }: { readonly resourceGroup: string; readonly name: string }): string {
  return `${resourceGroup}/${name}`.toLowerCase();
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
