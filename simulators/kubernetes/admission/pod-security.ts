import type { Container, PodSpec } from '../objects.ts';

/** Labels of a namespace that say which level is enforced. */
export const enforceLabel = 'pod-security.kubernetes.io/enforce';

/** How a violation is told; the first part is its name. */
type Violation = string;

const safeCapabilities = new Set(
  'AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT'.split(
    ' ',
  ),
);
const restrictedVolumes = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
  'image',
];

/**
 * Checks a pod against a Pod Security Standard.
 * @returns what violates it; nothing for `privileged`
 * @see https://kubernetes.io/docs/concepts/security/pod-security-standards/
 */
export function violations(level: string, spec: PodSpec): Violation[] {
  if (level === 'privileged') return [];
  const containers = [...(spec.initContainers ?? []), ...spec.containers];
  const found = baseline(spec, containers);
  return level === 'restricted' ? [...found, ...restricted(spec, containers)] : found;
}

function baseline(spec: PodSpec, containers: readonly Container[]): Violation[] {
  const host = (['hostNetwork', 'hostPID', 'hostIPC'] as const).filter((field) => spec[field] === true);
  const paths = (spec.volumes ?? []).filter(({ hostPath }) => hostPath !== undefined).map(({ name }) => name);
  return [
    ...(host.length > 0 ? [`host namespaces (${host.map((field) => `${field}=true`).join(', ')})`] : []),
    ...told('privileged', containers, ({ securityContext }) => securityContext?.privileged === true, {
      must: 'must not set securityContext.privileged=true',
    }),
    ...told(
      'non-default capabilities',
      containers,
      ({ securityContext }) => (securityContext?.capabilities?.add ?? []).some((name) => !safeCapabilities.has(name)),
      { must: 'must not include capabilities beyond the default in securityContext.capabilities.add' },
    ),
    ...(paths.length > 0 ? [`hostPath volumes (${word('volume', paths)})`] : []),
    ...told('hostPort', containers, ({ ports }) => (ports ?? []).some(({ hostPort }) => (hostPort ?? 0) !== 0), {
      must: 'uses hostPorts',
    }),
    ...told(
      'seccompProfile',
      containers,
      ({ securityContext }) => securityContext?.seccompProfile?.type === 'Unconfined',
      {
        must: 'must not set securityContext.seccompProfile.type to "Unconfined"',
      },
    ),
  ];
}

function restricted(spec: PodSpec, containers: readonly Container[]): Violation[] {
  const pod = spec.securityContext;
  const volumes = (spec.volumes ?? [])
    .filter((volume) => !Object.keys(volume).every((field) => field === 'name' || restrictedVolumes.includes(field)))
    .map(({ name }) => name);
  return [
    ...told(
      'allowPrivilegeEscalation != false',
      containers,
      ({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false,
      { must: 'must set securityContext.allowPrivilegeEscalation=false' },
    ),
    ...told(
      'unrestricted capabilities',
      containers,
      ({ securityContext }) =>
        !(securityContext?.capabilities?.drop ?? []).includes('ALL') ||
        (securityContext?.capabilities?.add ?? []).some((name) => name !== 'NET_BIND_SERVICE'),
      { must: 'must set securityContext.capabilities.drop=["ALL"]' },
    ),
    ...(volumes.length > 0 ? [`restricted volume types (${word('volume', volumes)})`] : []),
    ...told(
      'runAsNonRoot != true',
      containers,
      ({ securityContext }) => (securityContext?.runAsNonRoot ?? pod?.runAsNonRoot) !== true,
      { must: 'must set securityContext.runAsNonRoot=true', orPod: true },
    ),
    ...told('runAsUser=0', containers, ({ securityContext }) => (securityContext?.runAsUser ?? pod?.runAsUser) === 0, {
      must: 'must not set runAsUser=0',
    }),
    ...told(
      'seccompProfile',
      containers,
      ({ securityContext }) =>
        !['RuntimeDefault', 'Localhost'].includes(
          securityContext?.seccompProfile?.type ?? pod?.seccompProfile?.type ?? '',
        ),
      { must: 'must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"', orPod: true },
    ),
  ];
}

/** `allowPrivilegeEscalation != false (container "web" must set securityContext.allowPrivilegeEscalation=false)` */
function told(
  what: string,
  containers: readonly Container[],
  isWrong: (container: Container) => boolean,
  { must, orPod = false }: { must: string; orPod?: boolean },
): Violation[] {
  const names = containers.filter(isWrong).map(({ name }) => name);
  if (names.length === 0) return [];
  return [`${what} (${orPod ? 'pod or ' : ''}${word('container', names)} ${must})`];
}

function word(noun: string, names: readonly string[]): string {
  return `${noun}${names.length > 1 ? 's' : ''} ${names.map((name) => `"${name}"`).join(', ')}`;
}
