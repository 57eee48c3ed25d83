import type { Container, Json, PodSpec, Probe } from '../objects.ts';
import { isJson } from '../objects.ts';
import { amountOf, quantityOf } from '../quantity.ts';
import type { Resource } from '../resources.ts';

/** Sets what a field is where it is not given. @see https://kubernetes.io/docs/reference/kubernetes-api/ */
export function setDefaults(resource: Resource, object: Json): void {
  const spec = isJson(object['spec']) ? object['spec'] : undefined;
  switch (resource.kind) {
    case 'Pod':
      if (spec !== undefined) setPodDefaults(spec as unknown as PodSpec);
      return;
    case 'Deployment':
      if (spec !== undefined) setDeploymentDefaults(spec);
      return;
    case 'ReplicaSet':
      if (spec !== undefined) {
        set(spec, { replicas: 1 });
        setTemplateDefaults(spec);
      }
      return;
    case 'Service':
      if (spec !== undefined) setServiceDefaults(spec);
      return;
    case 'HorizontalPodAutoscaler':
      if (spec !== undefined) setAutoscalerDefaults(spec);
      return;
    case 'NetworkPolicy':
      if (spec !== undefined) {
        set(spec, { policyTypes: 'egress' in spec ? ['Ingress', 'Egress'] : ['Ingress'] });
      }
      return;
    case 'Namespace':
      object['spec'] = { finalizers: ['kubernetes'], ...spec };
      set(object, { status: { phase: 'Active' } });
      return;
    case 'Secret':
      setSecretDefaults(object);
      return;
    default:
  }
}

function set(object: Json, defaults: Json): void {
  for (const [field, value] of Object.entries(defaults)) object[field] ??= value;
}

function setSecretDefaults(secret: Json): void {
  set(secret, { type: 'Opaque' });
  const { stringData } = secret;
  if (!isJson(stringData)) return;
  const encoded = Object.entries(stringData).map(([key, text]) => [key, Buffer.from(String(text)).toString('base64')]);
  secret['data'] = { ...(secret['data'] as Json | undefined), ...Object.fromEntries(encoded) };
  delete secret['stringData'];
}

function setDeploymentDefaults(spec: Json): void {
  set(spec, { replicas: 1, strategy: {}, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
  const strategy = spec['strategy'] as Json;
  set(strategy, { type: 'RollingUpdate' });
  if (strategy['type'] === 'RollingUpdate') {
    set(strategy, { rollingUpdate: {} });
    set(strategy['rollingUpdate'] as Json, { maxSurge: '25%', maxUnavailable: '25%' });
  }
  setTemplateDefaults(spec);
}

function setTemplateDefaults({ template }: Json): void {
  if (!isJson(template)) return;
  const metadata = isJson(template['metadata']) ? template['metadata'] : {};
  // Clients written in Go send it as null; a cluster keeps it as null.
  template['metadata'] = metadata;
  if (isJson(template['spec'])) setPodDefaults(template['spec'] as unknown as PodSpec);
}

/** Sets the defaults of a pod, or of a template of pods. */
function setPodDefaults(spec: PodSpec): void {
  set(spec as unknown as Json, {
    restartPolicy: 'Always',
    dnsPolicy: 'ClusterFirst',
    terminationGracePeriodSeconds: 30,
    schedulerName: 'default-scheduler',
    securityContext: {},
  });
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) setContainerDefaults(container);
  for (const volume of spec.volumes ?? []) {
    if (volume.secret !== undefined) volume.secret.defaultMode ??= 0o644;
    if (volume.configMap !== undefined) volume.configMap.defaultMode ??= 0o644;
    if (volume.projected !== undefined) volume.projected.defaultMode ??= 0o644;
    if (volume.downwardAPI !== undefined) volume.downwardAPI.defaultMode ??= 0o644;
  }
  if (spec.serviceAccountName !== undefined) spec.serviceAccount ??= spec.serviceAccountName;
}

function setContainerDefaults(container: Container): void {
  const { image = '' } = container;
  const isLatest = !image.includes('@') && (!/:[^/]*$/.test(image) || image.endsWith(':latest'));
  set(container as unknown as Json, {
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: isLatest ? 'Always' : 'IfNotPresent',
    resources: {},
  });
  const { limits, requests } = container.resources ?? {};
  if (limits !== undefined && container.resources !== undefined) {
    container.resources.requests = { ...limits, ...requests };
  }
  for (const port of container.ports ?? []) port.protocol ??= 'TCP';
  for (const variable of container.env ?? []) {
    const { fieldRef } = variable.valueFrom ?? {};
    if (fieldRef !== undefined) fieldRef.apiVersion ??= 'v1';
  }
  setProbeDefaults(container.livenessProbe);
  setProbeDefaults(container.readinessProbe);
  setProbeDefaults(container.startupProbe);
  const preStop = container.lifecycle?.preStop?.httpGet;
  if (preStop !== undefined) set(preStop as unknown as Json, { path: '/', scheme: 'HTTP' });
}

function setProbeDefaults(probe: Probe | undefined): void {
  if (probe === undefined) return;
  set(probe as unknown as Json, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
  if (probe.httpGet !== undefined) set(probe.httpGet as unknown as Json, { path: '/', scheme: 'HTTP' });
}

function setServiceDefaults(spec: Json): void {
  set(spec, { sessionAffinity: 'None', type: 'ClusterIP' });
  const type = spec['type'];
  if (type === 'ExternalName') return;
  set(spec, { internalTrafficPolicy: 'Cluster', ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' });
  if (type !== 'ClusterIP') set(spec, { externalTrafficPolicy: 'Cluster' });
  if (type === 'LoadBalancer') set(spec, { allocateLoadBalancerNodePorts: true });
  for (const port of (spec['ports'] as Json[] | undefined) ?? []) {
    set(port, { protocol: 'TCP', targetPort: port['port'] });
  }
}

function setAutoscalerDefaults(spec: Json): void {
  const target = { type: 'Utilization', averageUtilization: 80 };
  set(spec, { minReplicas: 1, metrics: [{ type: 'Resource', resource: { name: 'cpu', target } }] });
  if (!isJson(spec['behavior'])) return;
  const behavior = spec['behavior'];
  const up = {
    policies: [
      { type: 'Pods', value: 4, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ],
  };
  behavior['scaleUp'] = { stabilizationWindowSeconds: 0, selectPolicy: 'Max', ...up, ...(behavior['scaleUp'] as Json) };
  const down = { policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }] };
  behavior['scaleDown'] = { selectPolicy: 'Max', ...down, ...(behavior['scaleDown'] as Json) };
}

/** What a pod asks of its node: the sum of its containers, or more where one that runs before them asks for more. */
export function requestsOf(spec: PodSpec, which: 'requests' | 'limits' = 'requests'): Record<string, number> {
  const total: Record<string, number> = {};
  for (const { resources } of spec.containers) {
    for (const [name, amount] of Object.entries(resources?.[which] ?? {})) {
      total[name] = (total[name] ?? 0) + amountOf(amount);
    }
  }
  for (const { resources } of spec.initContainers ?? []) {
    for (const [name, amount] of Object.entries(resources?.[which] ?? {})) {
      total[name] = Math.max(total[name] ?? 0, amountOf(amount));
    }
  }
  return total;
}

/** The amounts as quantities. */
export function quantities(amounts: Readonly<Record<string, number>>): Record<string, string> {
  return Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, quantityOf(name, amount)]));
}
