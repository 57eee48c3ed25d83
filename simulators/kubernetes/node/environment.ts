import type { ConfigMap, Container, Pod, Secret, Service } from '../objects.ts';
import { valueAt } from '../objects.ts';
import { kinds } from '../resources.ts';
import type { Store } from '../store.ts';

/** Why a container cannot be made from what its pod says. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Works out a container's environment, from its own variables, secrets and config maps, and what is known of its pod.
 * @throws {ConfigError} when a secret, a config map or a key is not there and is not optional
 */
export function environmentOf(store: Store, pod: Pod, container: Container, podIp: string): Record<string, string> {
  const { namespace = '' } = pod.metadata;
  const environment: Record<string, string> =
    pod.spec.enableServiceLinks === false ? {} : serviceVariables(store, namespace);
  for (const { prefix = '', secretRef, configMapRef } of container.envFrom ?? []) {
    const data =
      secretRef === undefined
        ? configData(store, namespace, configMapRef?.name ?? '', configMapRef?.optional)
        : secretData(store, namespace, secretRef.name ?? '', secretRef.optional);
    for (const [key, value] of Object.entries(data ?? {})) environment[prefix + key] = value.toString();
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    if (valueFrom === undefined) {
      environment[name] = expand(value ?? '', environment);
      continue;
    }
    const { secretKeyRef, configMapKeyRef, fieldRef } = valueFrom;
    const found =
      fieldRef !== undefined
        ? podField(pod, fieldRef.fieldPath, podIp)
        : secretKeyRef !== undefined
          ? keyOf('secret', secretKeyRef, secretData(store, namespace, secretKeyRef.name ?? '', secretKeyRef.optional))
          : configMapKeyRef !== undefined
            ? keyOf(
                'configmap',
                configMapKeyRef,
                configData(store, namespace, configMapKeyRef.name ?? '', configMapKeyRef.optional),
              )
            : undefined;
    if (found !== undefined) environment[name] = found;
  }
  return environment;
}

/**
 * Gives the variables by which pods find the services of their namespace that were there before them.
 * @see https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
 */
function serviceVariables(store: Store, namespace: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const { metadata, spec } of store.list<Service>(kinds.service)) {
    const { clusterIP, ports = [] } = spec;
    const [first] = ports;
    if (metadata.namespace !== namespace || first === undefined || clusterIP === undefined || clusterIP === 'None')
      continue;
    const named = (text: string): string => text.toUpperCase().replaceAll('-', '_');
    const name = named(metadata.name);
    variables[`${name}_SERVICE_HOST`] = clusterIP;
    variables[`${name}_SERVICE_PORT`] = String(first.port);
    variables[`${name}_PORT`] = `tcp://${clusterIP}:${first.port}`;
    for (const { name: port, port: number, protocol = 'TCP' } of ports) {
      if (port !== undefined) variables[`${name}_SERVICE_PORT_${named(port)}`] = String(number);
      const link = `${name}_PORT_${number}_${protocol}`;
      variables[link] = `${protocol.toLowerCase()}://${clusterIP}:${number}`;
      variables[`${link}_PROTO`] = protocol.toLowerCase();
      variables[`${link}_PORT`] = String(number);
      variables[`${link}_ADDR`] = clusterIP;
    }
  }
  return variables;
}

function keyOf(
  kind: string,
  { name, key, optional }: { name?: string; key: string; optional?: boolean },
  data: Readonly<Record<string, Buffer>> | undefined,
): string | undefined {
  const found = data?.[key];
  if (found === undefined && optional !== true)
    throw new ConfigError(`couldn't find key ${key} in ${kind} ${name ?? ''}`);
  return found?.toString();
}

/** A secret's files; undefined where it may be missing and is. @throws {ConfigError} */
export function secretData(
  store: Store,
  namespace: string,
  name: string,
  optional = false,
): Record<string, Buffer> | undefined {
  const secret = store.find<Secret>(kinds.secret, namespace, name);
  if (secret === undefined && !optional) throw new ConfigError(`secret "${name}" not found`);
  if (secret === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]),
  );
}

/** A config map's files; undefined where it may be missing and is. @throws {ConfigError} */
export function configData(
  store: Store,
  namespace: string,
  name: string,
  optional = false,
): Record<string, Buffer> | undefined {
  const map = store.find<ConfigMap>(kinds.configMap, namespace, name);
  if (map === undefined && !optional) throw new ConfigError(`configmap "${name}" not found`);
  if (map === undefined) return undefined;
  return Object.fromEntries([
    ...Object.entries(map.data ?? {}).map(([key, value]) => [key, Buffer.from(value)]),
    ...Object.entries(map.binaryData ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]),
  ]) as Record<string, Buffer>;
}

/** A field of the pod, for the downward API. */
export function podField(pod: Pod, path: string, podIp: string): string {
  if (path === 'status.podIP' || path === 'status.podIPs') return podIp;
  if (path === 'status.hostIP') return '127.0.0.1';
  const [, map, key] = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path) ?? [];
  if (map === 'labels' || map === 'annotations') return pod.metadata[map]?.[key ?? ''] ?? '';
  const value = valueAt(pod, path);
  return typeof value === 'string' ? value : '';
}

/** Puts variables that are known into `$(NAME)`; `$$` is one `$`, and what is not known stays. */
export function expand(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (environment[name] ?? whole),
  );
}
