import { FerryError } from '../../shared/errors.ts';

/** A platform that images are built for, in OCI's and in Node's words. */
export interface ImagePlatform {
  readonly os: 'linux';
  /** OCI's word (`GOARCH`). */
  readonly architecture: 'amd64' | 'arm64';
  /** Node's word for the same (`process.arch`), which npm packages name their binaries by. */
  readonly nodeArchitecture: 'x64' | 'arm64';
}

const platforms: readonly ImagePlatform[] = [
  { os: 'linux', architecture: 'amd64', nodeArchitecture: 'x64' },
  { os: 'linux', architecture: 'arm64', nodeArchitecture: 'arm64' },
];

/** Writes a platform as OCI tools do: `linux/amd64`. */
export function platformText({ os, architecture }: ImagePlatform): string {
  return `${os}/${architecture}`;
}

/**
 * Reads `linux/amd64`, `linux/arm64`, or several with `,` between; without a text, takes this machine's. Sorted, each once.
 * @throws {FerryError} PLATFORM_UNSUPPORTED when images cannot be built for one of them
 */
export function parsePlatforms(text: string | undefined): readonly ImagePlatform[] {
  const asked = text?.split(',') ?? [thisMachine()];
  const unknown = asked.filter((name) => !platforms.some((platform) => platformText(platform) === name));
  if (unknown.length === 0) return platforms.filter((platform) => asked.includes(platformText(platform)));
  const whose = text === undefined ? ' (this machine)' : '';
  throw new FerryError(
    'PLATFORM_UNSUPPORTED',
    `Cannot build an image for "${unknown.join(', ')}"${whose}: ${platforms.map(platformText).join(' or ')} was wanted`,
    { next: 'Build on a Linux machine, or in a Linux container.' },
  );
}

function thisMachine(): string {
  const architecture = platforms.find(({ nodeArchitecture }) => nodeArchitecture === process.arch)?.architecture;
  return `${process.platform}/${architecture ?? process.arch}`;
}
