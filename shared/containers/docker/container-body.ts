import type Dockerode from 'dockerode';
import { type ContainerSpec, dataMountPoint } from '../engine.ts';

/** Label that says whose a container is. */
export const ownerLabel = 'modelferry.owner';
/** Label that says what its owner calls it. */
export const nameLabel = 'modelferry.name';

/** What {@link containerBody} needs beside the container's own specification. */
interface BodyOptions {
  readonly owner: string;
  /** What the engine calls the image. */
  readonly image: string;
  readonly network?: string;
  /** What the engine calls the container whose network it shares. */
  readonly networkOf?: string;
  /** `uid:gid`. @default what the settings or the image say */
  readonly user?: string;
}

/** Keeps output from filling the disk: Docker's own default keeps all of it for ever. */
const logRotation = { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '2' } };

/**
 * Makes the body of `POST /containers/create`: the owner's settings, over them what the owner's rules fix. Docker restarts nothing by
 * itself, because that is the owner's business.
 */
export function containerBody(spec: ContainerSpec, options: BodyOptions): Dockerode.ContainerCreateOptions {
  const { settings, environment } = spec;
  const { networkOf } = options;
  const host = {
    ...settings.HostConfig,
    ...(networkOf === undefined ? {} : { NetworkMode: `container:${networkOf}` }),
  };
  const { network = host['NetworkMode'] } = options;
  const body = {
    ...settings,
    Image: options.image,
    ...(options.user === undefined ? {} : { User: options.user }),
    Env: [
      ...(settings.Env ?? []),
      ...Object.entries({ ...environment, MODELFERRY_DATA_DIR: dataMountPoint }).map(
        ([name, value]) => `${name}=${value}`,
      ),
    ],
    Labels: { ...settings.Labels, ...spec.labels, [ownerLabel]: options.owner, [nameLabel]: spec.name },
    HostConfig: {
      LogConfig: logRotation,
      ...host,
      ...(network === undefined ? {} : { NetworkMode: host['NetworkMode'] ?? network }),
      Binds: [...(host.Binds ?? []), `${spec.dataFolder}:${dataMountPoint}`],
      RestartPolicy: { Name: 'no' },
    },
    ...(networkOf === undefined ? networking(spec, options.network) : {}),
  };
  // Fields that are not looked at here are Docker's to check.
  return body as unknown as Dockerode.ContainerCreateOptions;
}

/** Lets the other containers of the network find it by its plain name, unless its settings say how it is to be connected. */
function networking(spec: ContainerSpec, network: string | undefined): Record<string, unknown> {
  const chosen = spec.settings['NetworkingConfig'] ?? spec.settings.HostConfig?.['NetworkMode'];
  if (network === undefined || chosen !== undefined) return {};
  return { NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: [spec.name] } } } };
}
