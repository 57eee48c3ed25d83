import { type Container, isJson, isSame, type Json, type Pod, type PodSpec, type Probe } from '../objects.ts';
import { amountOf } from '../quantity.ts';
import { cause, type Cause } from '../status.ts';
import { checkLabel } from './names.ts';

/** Checks what Kubernetes' schema cannot say about a pod, or about a template of pods. */
export function checkPodSpec(path: string, spec: PodSpec, options: { readonly isTemplate: boolean }): Cause[] {
  const containers = spec.containers ?? [];
  const volumes = new Set((spec.volumes ?? []).map(({ name }) => name));
  const claims = (spec.volumes ?? []).filter((volume) => volume.persistentVolumeClaim !== undefined);
  const restart = spec.restartPolicy;
  return [
    ...(containers.length === 0 ? [cause.required(`${path}.containers`)] : []),
    ...(options.isTemplate && restart !== undefined && restart !== 'Always'
      ? [cause.unsupported(`${path}.restartPolicy`, restart, ['Always'])]
      : []),
    ...repeated(`${path}.containers`, [...containers, ...(spec.initContainers ?? [])]),
    ...repeated(`${path}.volumes`, spec.volumes ?? []),
    ...(spec.volumes ?? []).flatMap(({ name }, index) => checkLabel(`${path}.volumes[${index}].name`, name)),
    ...claims.map(({ name }) =>
      cause.invalid(
        `${path}.volumes`,
        name,
        'persistent volumes are not simulated: use an emptyDir, a secret or a config map',
      ),
    ),
    ...containers.flatMap((container, index) => checkContainer(`${path}.containers[${index}]`, container, volumes)),
    ...(spec.initContainers ?? []).flatMap((container, index) =>
      checkContainer(`${path}.initContainers[${index}]`, container, volumes),
    ),
    ...negative(`${path}.terminationGracePeriodSeconds`, spec.terminationGracePeriodSeconds),
  ];
}

function repeated(path: string, items: readonly { readonly name: string }[]): Cause[] {
  return items.flatMap(({ name }, index) =>
    items.findIndex((other) => other.name === name) < index ? [cause.duplicate(`${path}[${index}].name`, name)] : [],
  );
}

function negative(field: string, value: number | undefined): Cause[] {
  return value !== undefined && value < 0 ? [cause.invalid(field, value, 'must be greater than or equal to 0')] : [];
}

function checkContainer(path: string, container: Container, volumes: ReadonlySet<string>): Cause[] {
  const { name, image, ports = [], env = [], volumeMounts = [], resources } = container;
  return [
    ...checkLabel(`${path}.name`, name),
    ...(image === undefined || image.trim() === '' ? [cause.required(`${path}.image`)] : []),
    ...ports.flatMap((port, index) => [
      ...portOf(`${path}.ports[${index}].containerPort`, port.containerPort),
      ...(port.name === undefined || /^(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$/.test(port.name)
        ? []
        : [cause.invalid(`${path}.ports[${index}].name`, port.name, 'must be no more than 15 characters')]),
    ]),
    ...env.flatMap((variable, index) => {
      const at = `${path}.env[${index}]`;
      if (variable.name === '') return [cause.required(`${at}.name`)];
      return variable.value !== undefined && variable.value !== '' && variable.valueFrom !== undefined
        ? [cause.invalid(`${at}.valueFrom`, '', 'may not be specified when `value` is not empty')]
        : [];
    }),
    ...volumeMounts.flatMap((mount, index) => {
      const at = `${path}.volumeMounts[${index}]`;
      const twice = volumeMounts.findIndex((other) => other.mountPath === mount.mountPath) < index;
      return [
        ...(volumes.has(mount.name)
          ? []
          : [{ reason: 'FieldValueNotFound', message: `Not found: "${mount.name}"`, field: `${at}.name` }]),
        ...(twice ? [cause.invalid(`${at}.mountPath`, mount.mountPath, 'must be unique')] : []),
      ];
    }),
    ...checkResources(`${path}.resources`, resources),
    ...checkProbe(`${path}.livenessProbe`, container.livenessProbe, { mustBeOne: true }),
    ...checkProbe(`${path}.readinessProbe`, container.readinessProbe, { mustBeOne: false }),
    ...checkProbe(`${path}.startupProbe`, container.startupProbe, { mustBeOne: true }),
    ...notSimulated(`${path}.lifecycle.postStart`, container.lifecycle?.postStart),
    ...notSimulated(`${path}.lifecycle.preStop.exec`, container.lifecycle?.preStop?.exec),
  ];
}

/** What a cluster would take and this one cannot carry out is refused, not passed over. */
function notSimulated(field: string, value: unknown): Cause[] {
  return value === undefined
    ? []
    : [cause.forbidden(field, 'this is not simulated: nothing can be run inside of a container')];
}

function portOf(field: string, port: number): Cause[] {
  return port > 0 && port < 65_536 ? [] : [cause.invalid(field, port, 'must be between 1 and 65535, inclusive')];
}

function checkResources(path: string, resources: Container['resources']): Cause[] {
  const { limits = {}, requests = {} } = resources ?? {};
  return [
    ...Object.entries(requests).flatMap(([name, amount]) => {
      const limit = limits[name];
      const field = `${path}.requests`;
      if (limit !== undefined && amountOf(amount) > amountOf(limit)) {
        return [cause.invalid(field, String(amount), `must be less than or equal to ${name} limit of ${limit}`)];
      }
      // Extended resources are counted in whole pieces, and never lent twice.
      if (!name.includes('/')) return [];
      if (limit === undefined)
        return [cause.required(`${path}.limits`, 'Limit must be set for non overcommitable resources')];
      return amountOf(amount) === amountOf(limit)
        ? []
        : [cause.invalid(field, String(amount), `must be equal to ${name} limit of ${limit}`)];
    }),
    ...Object.entries({ ...limits, ...requests }).flatMap(([name, amount]) =>
      name.includes('/') && !Number.isInteger(amountOf(amount))
        ? [cause.invalid(`${path}.limits[${name}]`, String(amount), 'must be an integer')]
        : [],
    ),
    ...Object.keys({ ...limits, ...requests })
      .filter(
        (name) =>
          !name.includes('/') &&
          !['cpu', 'memory', 'ephemeral-storage'].includes(name) &&
          !name.startsWith('hugepages-'),
      )
      .map((name) =>
        cause.invalid(`${path}.limits[${name}]`, name, 'must be a standard resource type or fully qualified'),
      ),
  ];
}

function checkProbe(path: string, probe: Probe | undefined, { mustBeOne }: { mustBeOne: boolean }): Cause[] {
  if (probe === undefined) return [];
  const handlers = (['httpGet', 'tcpSocket', 'exec', 'grpc'] as const).filter((name) => probe[name] !== undefined);
  return [
    ...(handlers.length === 0 ? [cause.required(path, 'must specify a handler type')] : []),
    ...(handlers.length > 1
      ? [cause.forbidden(`${path}.${handlers[1]}`, 'may not specify more than 1 handler type')]
      : []),
    ...notSimulated(`${path}.exec`, probe.exec),
    ...notSimulated(`${path}.grpc`, probe.grpc),
    ...(mustBeOne && (probe.successThreshold ?? 1) !== 1
      ? [cause.invalid(`${path}.successThreshold`, probe.successThreshold, 'must be 1')]
      : []),
    ...(['initialDelaySeconds', 'periodSeconds', 'timeoutSeconds', 'failureThreshold'] as const).flatMap((field) =>
      negative(`${path}.${field}`, probe[field]),
    ),
  ];
}

/** What of a pod may change once it is there. */
const changeable = ['activeDeadlineSeconds', 'terminationGracePeriodSeconds', 'tolerations'];

/** Checks a change of a pod. */
export function checkPodChange(before: Pod, after: Pod): Cause[] {
  const fixed = (pod: Pod): Json => {
    const spec = structuredClone(pod.spec) as unknown as Json;
    for (const field of [...changeable, 'nodeName']) delete spec[field];
    for (const list of [spec['containers'], spec['initContainers']]) {
      if (!Array.isArray(list)) continue;
      for (const container of list) if (isJson(container)) delete container['image'];
    }
    return spec;
  };
  const isMoved = before.spec.nodeName !== undefined && before.spec.nodeName !== after.spec.nodeName;
  if (!isMoved && isSame(fixed(before), fixed(after))) return [];
  const fields =
    'spec.containers[*].image,spec.initContainers[*].image,spec.activeDeadlineSeconds,spec.tolerations (only additions to existing tolerations),spec.terminationGracePeriodSeconds (allow it to be set to 1 if it was previously negative)';
  return [cause.forbidden('spec', `pod updates may not change fields other than \`${fields.replaceAll(',', '`,`')}\``)];
}
