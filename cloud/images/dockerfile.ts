import type { ImageConfig } from '../../shared/oci/image-config.ts';

/** What a Dockerfile builds upon, for one platform. */
export interface DockerfileBase {
  /** OCI's word. */
  readonly architecture: string;
  /** `registry/repository@sha256:…`; `scratch` where the base is in the context. */
  readonly reference: string;
}

/** What is copied: a folder of the context to a folder of the image, both with a `/` at the end. */
export interface DockerfileCopy {
  readonly from: string;
  readonly to: string;
}

/** What a Dockerfile is written of. */
export interface DockerfileParts {
  /** Said at the top. */
  readonly title: string;
  /** One a platform, at least one. */
  readonly bases: readonly [DockerfileBase, ...DockerfileBase[]];
  /** `${TARGETARCH}` stands for the architecture where there are several. */
  readonly copies: readonly DockerfileCopy[];
  /** What the image runs, the same for all platforms. */
  readonly config: NonNullable<ImageConfig['config']>;
}

/**
 * Writes the Dockerfile that makes the image again with any builder; for several platforms with one that sets `TARGETARCH`, as BuildKit does.
 * It runs nothing, so it builds for a platform that this machine is not of, too.
 * @see https://docs.docker.com/reference/dockerfile/
 */
export function dockerfile({ title, bases, copies, config }: DockerfileParts): string {
  const [first, ...more] = bases;
  const from =
    more.length === 0
      ? [`FROM ${first.reference}`]
      : [
          ...bases.map(
            ({ architecture, reference }) =>
              `FROM --platform=linux/${architecture} ${reference} AS base-${architecture}`,
          ),
          'FROM base-${TARGETARCH}',
          'ARG TARGETARCH',
        ];
  return `${[
    `# ${title}`,
    ...from,
    ...copies.map((copy) => `COPY ${copy.from} ${copy.to}`),
    ...(config.Env ?? []).map(environmentLine),
    ...Object.entries(config.Labels ?? {}).map(([key, value]) => `LABEL ${quoted(key)}=${quoted(value)}`),
    ...Object.keys(config.ExposedPorts ?? {}).map((port) => `EXPOSE ${port}`),
    ...Object.keys(config.Volumes ?? {}).map((path) => `VOLUME ${JSON.stringify([path])}`),
    ...(config.StopSignal === undefined ? [] : [`STOPSIGNAL ${config.StopSignal}`]),
    ...healthLine(config.Healthcheck),
    ...(config.WorkingDir === undefined ? [] : [`WORKDIR ${config.WorkingDir}`]),
    ...(config.User === undefined ? [] : [`USER ${config.User}`]),
    `ENTRYPOINT ${JSON.stringify(config.Entrypoint ?? [])}`,
  ].join('\n')}\n`;
}

function environmentLine(variable: string): string {
  const at = variable.indexOf('=');
  return `ENV ${variable.slice(0, at)}=${quoted(variable.slice(at + 1))}`;
}

/** A word of a Dockerfile as it is: without variables, escapes and the end of a line. */
function quoted(text: string): string {
  return `"${text.replaceAll(/["\\$]/g, String.raw`\$&`)}"`;
}

function healthLine(check: NonNullable<ImageConfig['config']>['Healthcheck']): string[] {
  const [kind, ...command] = check?.Test ?? [];
  if (kind !== 'CMD') return [];
  const { Interval, Timeout, StartPeriod, Retries } = check ?? {};
  const duration = (name: string, nanoseconds: number | undefined): string[] =>
    nanoseconds === undefined ? [] : [`--${name}=${nanoseconds / 1e9}s`];
  const options = [
    ...duration('interval', Interval),
    ...duration('timeout', Timeout),
    ...duration('start-period', StartPeriod),
    ...(Retries === undefined ? [] : [`--retries=${Retries}`]),
  ];
  return [`HEALTHCHECK ${options.join(' ')} CMD ${JSON.stringify(command)}`];
}
