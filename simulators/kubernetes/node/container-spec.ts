import { type ContainerSpec, dataMountPoint } from '../../../shared/containers/engine.ts';
import type { Digest } from '../../../shared/digest.ts';
import type { Container, Pod } from '../objects.ts';
import { amountOf } from '../quantity.ts';
import { expand } from './environment.ts';
import { publishedPorts } from './published-ports.ts';
import type { Mount } from './volumes.ts';

/** The variable that tells a container's processes from all others of this machine. */
export const markVariable = 'KUBERNETES_SIMULATOR_CONTAINER';

/** What {@link containerSpec} needs beside the pod. */
export interface SpecOptions {
  readonly engine: 'docker' | 'process';
  /** What the engine is to call it. */
  readonly name: string;
  readonly image: Digest;
  readonly podIp: string;
  /** What the engine calls the container whose network it shares. @default it has one of its own */
  readonly networkOf?: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly mounts: readonly Mount[];
  /** Where it may keep files that no volume is for. */
  readonly scratchFolder: string;
}

/**
 * Says to a container engine what a container of a pod is. Each pod has an address of its own on this machine's loopback network: Docker
 * publishes the container's ports there, and a process is told to listen there.
 */
export function containerSpec(pod: Pod, container: Container, options: SpecOptions): ContainerSpec {
  const { engine, name, image, podIp, networkOf, mounts } = options;
  const own = { ...container.securityContext };
  const { runAsUser = pod.spec.securityContext?.runAsUser, runAsGroup = pod.spec.securityContext?.runAsGroup } = own;
  const environment = { HOSTNAME: pod.metadata.name, ...options.environment };
  const data = mounts.find(({ path }) => path === dataMountPoint);
  const others = mounts.filter((mount) => mount !== data);
  const ports = publishedPorts([container], podIp);
  const limits = container.resources?.limits ?? {};
  return {
    name,
    image,
    environment: { ...(engine === 'process' ? movedPaths(environment, others) : environment), [markVariable]: name },
    labels: { pod: pod.metadata.uid, container: container.name },
    dataFolder: data?.source ?? options.scratchFolder,
    ...(networkOf === undefined ? {} : { networkOf }),
    settings: {
      ...(container.command === undefined
        ? {}
        : { Entrypoint: container.command.map((text) => expand(text, environment)) }),
      ...(container.args === undefined ? {} : { Cmd: container.args.map((text) => expand(text, environment)) }),
      ...(container.workingDir === undefined ? {} : { WorkingDir: container.workingDir }),
      ...(runAsUser === undefined ? {} : { User: `${runAsUser}:${runAsGroup ?? runAsUser}` }),
      ...(networkOf === undefined && { ExposedPorts: ports.exposed }),
      HostConfig: {
        Memory: Math.round(amountOf(limits['memory'])),
        NanoCpus: Math.round(amountOf(limits['cpu']) * 1e9),
        Binds: others.map(({ source, path, isReadOnly }) => `${source}:${path}${isReadOnly ? ':ro' : ''}`),
        ...(networkOf === undefined && { PortBindings: ports.bindings }),
        ReadonlyRootfs: own.readOnlyRootFilesystem === true,
        ...(own.capabilities?.drop === undefined ? {} : { CapDrop: own.capabilities.drop }),
        ...(own.capabilities?.add === undefined ? {} : { CapAdd: own.capabilities.add }),
        ...(own.allowPrivilegeEscalation === false ? { SecurityOpt: ['no-new-privileges'] } : {}),
      },
    },
  };
}

/** A process sees this machine's files, so what names a mounted file gets the path where that really is. */
function movedPaths(environment: Readonly<Record<string, string>>, mounts: readonly Mount[]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => {
      const mount = mounts.find(({ path }) => value === path || value.startsWith(`${path}/`));
      return [name, mount === undefined ? value : mount.source + value.slice(mount.path.length)];
    }),
  );
}
