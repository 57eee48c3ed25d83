import {
  type Autoscaler,
  type Deployment,
  type DisruptionBudget,
  isSame,
  type KubeObject,
  type Pod,
  type ReplicaSet,
  type Service,
  valueAt,
} from '../objects.ts';
import type { Resource } from '../resources.ts';
import { matches } from '../selectors.ts';
import { cause, type Cause } from '../status.ts';
import { checkPodChange, checkPodSpec } from './check-pod.ts';
import { checkAnnotations, checkLabels, checkName } from './names.ts';

/** Checks what Kubernetes' schema cannot say of an object, after its defaults are set. */
export function checkObject(resource: Resource, object: KubeObject): Cause[] {
  const { name, labels, annotations } = object.metadata;
  return [
    ...checkName(resource.kind, name),
    ...checkLabels('metadata.labels', labels),
    ...checkAnnotations(annotations),
    ...checkKind(resource, object),
  ];
}

function checkKind(resource: Resource, object: KubeObject): Cause[] {
  switch (resource.kind) {
    case 'Pod':
      return specOf(object, (pod: Pod) => checkPodSpec('spec', pod.spec, { isTemplate: false }));
    case 'Deployment':
      return specOf(object, checkDeployment);
    case 'ReplicaSet':
      return specOf(object, checkTemplate);
    case 'Service':
      return specOf(object, checkService);
    case 'HorizontalPodAutoscaler':
      return specOf(object, checkAutoscaler);
    case 'PodDisruptionBudget':
      return specOf(object, checkBudget);
    case 'ConfigMap':
    case 'Secret':
      return checkKeys(object);
    default:
      return [];
  }
}

function specOf<T>(object: KubeObject, check: (object: T) => Cause[]): Cause[] {
  return object['spec'] === undefined ? [cause.required('spec')] : check(object as unknown as T);
}

function checkDeployment(deployment: Deployment): Cause[] {
  const { strategy, progressDeadlineSeconds = 600, minReadySeconds = 0 } = deployment.spec;
  const { maxSurge, maxUnavailable } = strategy?.rollingUpdate ?? {};
  const isZero = (value: string | number | undefined): boolean =>
    value !== undefined && Number.parseInt(String(value), 10) === 0;
  return [
    ...checkTemplate(deployment),
    ...(strategy?.type === 'Recreate' && strategy.rollingUpdate !== undefined
      ? [cause.forbidden('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'")]
      : []),
    ...(isZero(maxSurge) && isZero(maxUnavailable)
      ? [
          cause.invalid(
            'spec.strategy.rollingUpdate.maxUnavailable',
            maxUnavailable,
            'may not be 0 when `maxSurge` is 0',
          ),
        ]
      : []),
    ...(progressDeadlineSeconds <= minReadySeconds
      ? [cause.invalid('spec.progressDeadlineSeconds', progressDeadlineSeconds, 'must be greater than minReadySeconds')]
      : []),
  ];
}

function checkTemplate({ spec }: Deployment | ReplicaSet): Cause[] {
  const { replicas = 1, selector, template } = spec;
  const labels = template?.metadata?.labels;
  const isEmpty =
    Object.keys(selector?.matchLabels ?? {}).length + (selector?.matchExpressions ?? []).length === 0 &&
    selector !== undefined;
  return [
    ...(replicas < 0 ? [cause.invalid('spec.replicas', replicas, 'must be greater than or equal to 0')] : []),
    ...(isEmpty ? [cause.invalid('spec.selector', selector, 'empty selector is invalid for deployment')] : []),
    ...(isEmpty || selector === undefined || matches(selector, labels)
      ? []
      : [
          cause.invalid('spec.template.metadata.labels', labels ?? null, '`selector` does not match template `labels`'),
        ]),
    ...checkLabels('spec.template.metadata.labels', labels),
    ...(template?.spec === undefined
      ? [cause.required('spec.template.spec')]
      : checkPodSpec('spec.template.spec', template.spec, { isTemplate: true })),
  ];
}

function checkService({ spec }: Service): Cause[] {
  const ports = spec.ports ?? [];
  return [
    ...(ports.length === 0 && spec.type !== 'ExternalName' && spec.clusterIP !== 'None'
      ? [cause.required('spec.ports')]
      : []),
    ...ports.flatMap((port, index) => {
      const at = `spec.ports[${index}]`;
      const same = ports.findIndex((other) => other.port === port.port && other.protocol === port.protocol) < index;
      return [
        ...(port.port > 0 && port.port < 65_536
          ? []
          : [cause.invalid(`${at}.port`, port.port, 'must be between 1 and 65535, inclusive')]),
        ...(ports.length > 1 && port.name === undefined ? [cause.required(`${at}.name`)] : []),
        ...(port.nodePort !== undefined && spec.type === 'ClusterIP'
          ? [cause.forbidden(`${at}.nodePort`, "may not be used when `type` is 'ClusterIP'")]
          : []),
        ...(port.nodePort !== undefined && (port.nodePort < 30_000 || port.nodePort > 32_767)
          ? [
              cause.invalid(
                `${at}.nodePort`,
                port.nodePort,
                'provided port is not in the valid range. The range of valid ports is 30000-32767',
              ),
            ]
          : []),
        ...(same ? [cause.duplicate(at, { port: port.port, protocol: port.protocol })] : []),
      ];
    }),
    ...checkLabels('spec.selector', spec.selector),
  ];
}

function checkAutoscaler({ spec }: Autoscaler): Cause[] {
  const { minReplicas = 1, maxReplicas, behavior } = spec;
  const windows = (['scaleUp', 'scaleDown'] as const).flatMap((way) => {
    const seconds = behavior?.[way]?.stabilizationWindowSeconds ?? 0;
    const field = `spec.behavior.${way}.stabilizationWindowSeconds`;
    return seconds < 0 || seconds > 3600
      ? [cause.invalid(field, seconds, 'must be greater than or equal to zero and less than or equal to 3600')]
      : [];
  });
  return [
    ...(minReplicas < 1 ? [cause.invalid('spec.minReplicas', minReplicas, 'must be greater than or equal to 1')] : []),
    ...(maxReplicas < 1 ? [cause.invalid('spec.maxReplicas', maxReplicas, 'must be greater than 0')] : []),
    ...(maxReplicas < minReplicas
      ? [cause.invalid('spec.maxReplicas', maxReplicas, 'must be greater than or equal to `minReplicas`')]
      : []),
    ...windows,
  ];
}

function checkBudget({ spec }: DisruptionBudget): Cause[] {
  return spec?.minAvailable !== undefined && spec.maxUnavailable !== undefined
    ? [cause.invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set')]
    : [];
}

/** Keys of secrets and config maps are names of files. */
function checkKeys(object: KubeObject): Cause[] {
  const data = (object['data'] ?? {}) as Record<string, string>;
  const bytes = Object.values(data).reduce((sum, text) => sum + text.length, 0);
  return [
    ...Object.keys(data)
      .filter((key) => !/^[-._a-zA-Z0-9]+$/.test(key) || key === '..' || key.length > 253)
      .map((key) =>
        cause.invalid(
          `data[${key}]`,
          key,
          "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        ),
      ),
    ...(object.kind === 'Secret' && object['type'] === 'kubernetes.io/tls'
      ? ['tls.crt', 'tls.key'].filter((key) => !(key in data)).map((key) => cause.required(`data[${key}]`))
      : []),
    ...(bytes > 1024 * 1024
      ? [{ reason: 'FieldValueTooLong', message: 'Too long: may not be more than 1048576 bytes', field: 'data' }]
      : []),
  ];
}

/** Fields that keep the value that they were made with, by kind. */
const fixedFields: Readonly<Record<string, readonly string[]>> = {
  Deployment: ['spec.selector'],
  ReplicaSet: ['spec.selector'],
  Secret: ['type'],
  RoleBinding: ['roleRef'],
  ClusterRoleBinding: ['roleRef'],
};

/** Checks a change of an object. */
export function checkChange(resource: Resource, before: KubeObject, after: KubeObject): Cause[] {
  const fixed = (fixedFields[resource.kind] ?? []).filter(
    (path) => !isSame(valueAt(before, path), valueAt(after, path)),
  );
  const ip = valueAt(before, 'spec.clusterIP');
  return [
    ...fixed.map((path) => cause.invalid(path, valueAt(after, path), 'field is immutable')),
    ...(resource.kind === 'Service' && ip !== undefined && valueAt(after, 'spec.clusterIP') !== ip
      ? [cause.invalid('spec.clusterIPs[0]', [valueAt(after, 'spec.clusterIP')], 'may not change once set')]
      : []),
    ...(before['immutable'] === true && (!isSame(before['data'], after['data']) || after['immutable'] !== true)
      ? [cause.forbidden('data', 'field is immutable when `immutable` is set')]
      : []),
    ...(resource.kind === 'Pod' ? checkPodChange(before as unknown as Pod, after as unknown as Pod) : []),
  ];
}
