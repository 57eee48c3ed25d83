import type { DesiredService } from '../deployer.ts';

/** How long a runtime goes on after it was told to end, in seconds: longer than the scoring server, which sends it what it still has. */
const outlivesSeconds = 5;

/** What Kubernetes is told of an accelerator's runtime beside the scoring server. */
export interface RuntimePlace {
  /** The runtime's image. */
  readonly image: string;
  /** How long the scoring server still takes requests after it was told to end. */
  readonly drainSeconds: number;
  /** How long it may take to be ready: it may compile the model. */
  readonly startSeconds: number;
}

/** Gives the container of an accelerator's runtime, which has the devices. */
export function runtimeContainer({ settings }: DesiredService, place: RuntimePlace): object {
  const { acceleratorPort: port, acceleratorEnv = {}, acceleratorResource: resource, acceleratorCount } = settings;
  const live = { httpGet: { path: '/v2/health/live', port: 'runtime' } };
  const probe = { ...live, periodSeconds: 5, timeoutSeconds: settings.timeoutSeconds };
  return {
    name: 'accelerator',
    image: place.image,
    env: Object.entries(acceleratorEnv).map(([name, value]) => ({ name, value })),
    ports: [{ name: 'runtime', containerPort: port, protocol: 'TCP' }],
    // What is no processor and no memory has a limit alone, which is what is requested too.
    resources: resource === undefined ? {} : { limits: { [resource]: String(acceleratorCount) } },
    startupProbe: { ...probe, failureThreshold: Math.ceil(place.startSeconds / probe.periodSeconds) },
    // Whether it is ready is the scoring server's to say, which asks it for its share too.
    livenessProbe: { ...probe, failureThreshold: settings.failureThreshold },
    lifecycle: { preStop: { sleep: { seconds: place.drainSeconds + outlivesSeconds } } },
    terminationMessagePolicy: 'FallbackToLogsOnError',
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    volumeMounts: [{ name: 'accelerator-tmp', mountPath: '/tmp' }],
  };
}

/** Gives where pods may run: the labels that a node must have, and the taints that they stand. */
export function podPlace({ settings }: DesiredService): object {
  const { nodeSelector, tolerations } = settings;
  return {
    ...(nodeSelector !== undefined && { nodeSelector }),
    ...(tolerations !== undefined && {
      tolerations: Object.entries(tolerations).map(([key, said]) => {
        const at = said.lastIndexOf(':');
        const [value, effect] = [said.slice(0, at), said.slice(at + 1)];
        return value === '' ? { key, operator: 'Exists', effect } : { key, operator: 'Equal', value, effect };
      }),
    }),
  };
}
