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
 * Reads `linux/amd64` or `linux/arm64`; without a text, takes this machine's.
 * @throws {FerryError} PLATFORM_UNSUPPORTED when images cannot be built for it
 */
export function parsePlatform(text: string | undefined): ImagePlatform {
  const found =
    text === undefined
      ? platforms.find(({ os, nodeArchitecture }) => os === process.platform && nodeArchitecture === process.arch)
      : platforms.find((platform) => platformText(platform) === text);
  if (found !== undefined) return found;
  const asked = text ?? `${process.platform}/${process.arch} (this machine)`;
  throw new FerryError(
    'PLATFORM_UNSUPPORTED',
    `Cannot build an image for "${asked}": ${platforms.map(platformText).join(' or ')} was wanted`,
    { next: 'Build on a Linux machine, or in a Linux container.' },
  );
}
