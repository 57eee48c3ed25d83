import { isIP } from 'node:net';
import { ArmError } from '../arm-error.ts';
import type { Definition, InitContainerDefinition, ProbeDefinition, VolumeDefinition } from './definition.ts';

// What the service checks before it takes a container group. Names and ranges: container-instances-troubleshooting
// ("Naming conventions") and container-instances-resource-and-quota-limits. Codes and messages that no document gives are ours, and
// named `Invalid…` as the service's are.

/** "1-63, lowercase, alphanumeric, and hyphen anywhere except the first or last character". */
const namePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** As the service's own message says it; see {@link checkAddress}. */
const labelPattern = /^[a-z][a-z0-9-]{3,61}[a-z0-9]$/;
/** "1-63, alphanumeric, and underscore anywhere except the first or last character"; the service takes leading underscores too. */
const variablePattern = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** "5-63, lowercase, alphanumeric, and hyphens anywhere except the first or last character, no two consecutive hyphens". */
const volumePattern = /^(?=.{5,63}$)[a-z0-9]+(?:-[a-z0-9]+)*$/;
/** distribution/reference, without what this simulator need not tell apart. */
const imagePattern = /^[A-Za-z0-9][A-Za-z0-9._/:-]*(?:@sha256:[0-9a-f]{64})?$/;
const limits = { containers: 60, volumes: 20, ports: 5, cpu: 31, memoryInGB: 240 } as const;

/** @throws {ArmError} the first thing about the group that is wrong, by the service's code for it */
export function checkDefinition(name: string, definition: Definition): void {
  const { containers, initContainers, volumes, osType, subnetIds } = definition.properties;
  if (!namePattern.test(name)) {
    throw invalid(
      'InvalidContainerGroupName',
      `The container group name '${name}' is invalid. It must be 1 to 63 lowercase letters, numbers and hyphens, and begin and end with a letter or number.`,
    );
  }
  if (osType === 'Windows') throw notSimulated(`Windows container groups ('${name}')`);
  if (subnetIds != null && subnetIds.length > 0) throw notSimulated(`Virtual networks ('${name}')`);
  if (containers.length === 0 || containers.length > limits.containers) {
    throw invalid(
      'InvalidContainerCount',
      `The container group '${name}' has ${containers.length} containers, 1 to ${limits.containers} are allowed.`,
    );
  }
  checkNames(name, [...containers, ...(initContainers ?? [])]);
  checkResources(name, definition);
  checkVolumes(name, volumes ?? []);
  for (const container of [...containers, ...(initContainers ?? [])]) checkContainer(name, container, volumes ?? []);
  for (const { name: container, properties } of containers) {
    checkProbe(container, 'livenessProbe', properties.livenessProbe);
    checkProbe(container, 'readinessProbe', properties.readinessProbe);
  }
  checkAddress(name, definition);
  checkCredentials(name, definition);
}

function checkNames(group: string, containers: readonly { readonly name: string }[]): void {
  const seen = new Set<string>();
  for (const { name } of containers) {
    if (!namePattern.test(name)) {
      throw invalid(
        'InvalidContainerName',
        `The container name '${name}' in container group '${group}' is invalid. It must be 1 to 63 lowercase letters, numbers and hyphens, and begin and end with a letter or number.`,
      );
    }
    if (seen.has(name)) {
      throw invalid(
        'DuplicateContainerName',
        `The container name '${name}' is used twice in container group '${group}'.`,
      );
    }
    seen.add(name);
  }
}

function checkResources(group: string, { properties }: Definition): void {
  const all = properties.containers.map(({ name, properties: { resources } }) => {
    const { cpu, memoryInGB, gpu } = resources.requests;
    if (gpu != null)
      throw invalid('GpuNotSupported', `Container '${name}' asks for a GPU; GPU containers are retired.`);
    if (cpu == null || memoryInGB == null || cpu < 0.01 || memoryInGB < 0.1) {
      throw invalid(
        'InvalidResourceRequest',
        `The resource request of container '${name}' in container group '${group}' is invalid: cpu '${cpu}' and memoryInGB '${memoryInGB}', at least 0.01 and 0.1 are required.`,
      );
    }
    const { limits: upper } = resources;
    if ((upper?.cpu ?? cpu) < cpu || (upper?.memoryInGB ?? memoryInGB) < memoryInGB) {
      throw invalid('InvalidResourceLimit', `The resource limit of container '${name}' is below its request.`);
    }
    return { cpu, memoryInGB };
  });
  const cpu = all.reduce((sum, one) => sum + one.cpu, 0);
  const memoryInGB = all.reduce((sum, one) => sum + one.memoryInGB, 0);
  if (cpu > limits.cpu || memoryInGB > limits.memoryInGB) {
    throw invalid(
      'InvalidResourceRequest',
      `The requested resources of container group '${group}' exceed the limits: cpu '${cpu}' of ${limits.cpu}, memoryInGB '${memoryInGB}' of ${limits.memoryInGB}.`,
    );
  }
}

function checkVolumes(group: string, volumes: readonly VolumeDefinition[]): void {
  if (volumes.length > limits.volumes) {
    throw invalid(
      'TooManyVolumes',
      `The container group '${group}' has ${volumes.length} volumes, ${limits.volumes} are allowed.`,
    );
  }
  const seen = new Set<string>();
  for (const { name, azureFile, emptyDir, secret, gitRepo } of volumes) {
    const where = `the volume '${name}' in container group '${group}'`;
    if (!volumePattern.test(name) || seen.has(name)) {
      throw invalid(
        'InvalidVolumeName',
        `The name of ${where} is invalid. It must be unique, 5 to 63 lowercase letters, numbers and single hyphens, and begin and end with a letter or number.`,
      );
    }
    seen.add(name);
    if (azureFile != null) throw notSimulated(`Azure file shares (${where})`);
    if (gitRepo != null) throw notSimulated(`Git repositories (${where})`);
    if ((emptyDir == null) === (secret == null)) {
      throw invalid('InvalidVolume', `Exactly one volume type has to be given for ${where}.`);
    }
    for (const [file, value] of Object.entries(secret ?? {})) {
      if (!/^[A-Za-z0-9._-]{1,253}$/.test(file) || file === '.' || file === '..') {
        throw invalid('InvalidSecretName', `The secret name '${file}' of ${where} is invalid.`);
      }
      if (!/^[A-Za-z0-9+/]*={0,2}$/.test(value) || value.length % 4 !== 0) {
        throw invalid('InvalidSecretValue', `The value of secret '${file}' of ${where} is not base64.`);
      }
    }
  }
}

function checkContainer(
  group: string,
  { name, properties }: InitContainerDefinition,
  volumes: readonly VolumeDefinition[],
): void {
  if (!imagePattern.test(properties.image)) {
    throw invalid(
      'InvalidImageName',
      `The image '${properties.image}' in container group '${group}' is not a valid image name.`,
    );
  }
  for (const variable of properties.environmentVariables ?? []) {
    if (!variablePattern.test(variable.name)) {
      throw invalid(
        'InvalidEnvironmentVariable',
        `The environment variable name '${variable.name}' of container '${name}' is invalid.`,
      );
    }
    if (variable.value != null && variable.secureValue != null) {
      throw invalid(
        'InvalidEnvironmentVariable',
        `The environment variable '${variable.name}' of container '${name}' has both a value and a secure value.`,
      );
    }
  }
  const paths = new Set<string>();
  for (const mount of properties.volumeMounts ?? []) {
    if (!volumes.some((volume) => volume.name === mount.name)) {
      throw invalid(
        'VolumeNotFound',
        `The volume '${mount.name}' that container '${name}' mounts is not in container group '${group}'.`,
      );
    }
    if (!/^\/[^:]+$/.test(mount.mountPath) || mount.mountPath.includes('..') || paths.has(mount.mountPath)) {
      throw invalid(
        'InvalidMountPath',
        `The mount path '${mount.mountPath}' of container '${name}' is invalid. It must be an absolute path without a colon, used once.`,
      );
    }
    paths.add(mount.mountPath);
  }
}

function checkProbe(container: string, kind: string, probe: ProbeDefinition | null | undefined): void {
  if (probe == null) return;
  if (probe.exec != null) throw notSimulated(`Commands as probes (${kind} of container '${container}')`);
  if (probe.httpGet == null) {
    throw invalid('InvalidProbe', `The ${kind} of container '${container}' needs one of exec and httpGet.`);
  }
  checkPort(`${kind} of container '${container}'`, probe.httpGet.port);
}

function checkAddress(group: string, { properties }: Definition): void {
  const { ipAddress, containers } = properties;
  const ofContainers = containers.flatMap((container) => container.properties.ports ?? []);
  for (const { port } of ofContainers) checkPort(`container group '${group}'`, port);
  if (new Set(ofContainers.map(({ port, protocol }) => `${port}/${protocol ?? 'TCP'}`)).size < ofContainers.length) {
    throw invalid('DuplicateContainerPort', `Two containers of container group '${group}' have the same port.`);
  }
  if (ipAddress == null) return;
  const { ports, dnsNameLabel, type, ip } = ipAddress;
  if (ip != null && isIP(ip) === 0) throw invalid('InvalidIPAddress', `The IP address '${ip}' is invalid.`);
  if (type === 'Private') throw notSimulated(`Private addresses (container group '${group}')`);
  if (ports.length === 0 || ports.length > limits.ports) {
    throw invalid(
      'InvalidPortCount',
      `The IP address of container group '${group}' has ${ports.length} ports, 1 to ${limits.ports} are allowed.`,
    );
  }
  for (const { port } of ports) {
    checkPort(`container group '${group}'`, port);
    if (!ofContainers.some((one) => one.port === port)) {
      throw invalid(
        'MissingContainerPort',
        `The port '${port}' of the IP address of container group '${group}' is exposed by none of its containers.`,
      );
    }
  }
  if (dnsNameLabel != null && !labelPattern.test(dnsNameLabel)) {
    throw invalid(
      'InvalidDnsNameLabel',
      `The DNS name label '${dnsNameLabel}' in container group '${group}' is invalid. It can contain only lowercase letters, numbers and hyphens. The first character must be a letter. The last character must be a letter or number. The value must be between 5 and 63 characters long.`,
    );
  }
}

function checkCredentials(group: string, { properties, identity }: Definition): void {
  const servers = new Set<string>();
  for (const { server, username, password, identity: byIdentity } of properties.imageRegistryCredentials ?? []) {
    if (/\/|^$/.test(server) || servers.has(server)) {
      throw invalid(
        'InvalidImageRegistryServer',
        `The image registry server '${server}' in container group '${group}' is invalid. It must be given once, as a host without a protocol.`,
      );
    }
    servers.add(server);
    if (byIdentity == null && (!username || !password)) {
      throw invalid(
        'InvalidImageRegistryCredential',
        `The credential for '${server}' in container group '${group}' needs a user name and a password, or an identity.`,
      );
    }
    const known = Object.keys(identity?.userAssignedIdentities ?? {}).map((id) => id.toLowerCase());
    if (byIdentity != null && byIdentity !== 'system' && !known.includes(byIdentity.toLowerCase())) {
      throw invalid(
        'InvalidImageRegistryIdentity',
        `The identity '${byIdentity}' for '${server}' is not one of container group '${group}'.`,
      );
    }
  }
}

function checkPort(where: string, port: number): void {
  if (port >= 1 && port <= 65_535) return;
  throw invalid('InvalidPort', `The port '${port}' of ${where} is invalid. It must be from 1 to 65535.`);
}

function invalid(code: string, message: string): ArmError {
  return new ArmError(400, code, message);
}

function notSimulated(what: string): ArmError {
  return new ArmError(501, 'NotSimulated', `${what} are part of the service, but not of this simulator.`);
}
