import { digestOf } from '../digest.ts';
import { FerryError } from '../errors.ts';

// Azure ML v1, azureml-core `_model_management/_util.py`: the patterns and lengths of names.
const modelPattern = /^[a-zA-Z0-9][a-zA-Z0-9\-._]{0,254}$/;
const imagePattern = /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/;
const imageLengthMin = 3;
const imageLengthMax = 32;
const imageRule = `${imageLengthMin} to ${imageLengthMax} lower-case letters, digits, "-" and ".", a letter or digit first and last`;

/** Says what is wrong with a model's name, if anything. */
export function modelNameProblem(name: string): string | undefined {
  return modelPattern.test(name)
    ? undefined
    : `the name is "${name}", 1 to 255 letters, digits, "-", "." and "_" were wanted, a letter or digit first`;
}

/** Says what is wrong with an image's name, if anything. */
export function imageNameProblem(name: string): string | undefined {
  const fits = name.length >= imageLengthMin && name.length <= imageLengthMax && imagePattern.test(name);
  // A registry takes single "." between letters and digits only (OCI distribution-spec 1.1, "Pulling manifests").
  return fits && !/\.[.-]|-\./.test(name) ? undefined : `the name is "${name}", ${imageRule} were wanted`;
}

/** A model or image: `name:version`, or the latest version of a name. */
export interface VersionedName {
  readonly name: string;
  /** Absent for the latest one. */
  readonly version?: number;
}

/**
 * Reads `name` or `name:version`.
 * @throws {FerryError} NAME_INVALID when the version is no whole number from 1
 */
export function parseVersionedName(text: string): VersionedName {
  const colon = text.lastIndexOf(':');
  if (colon < 0) return { name: text };
  const version = text.slice(colon + 1);
  if (!/^[1-9]\d{0,14}$/.test(version)) {
    throw new FerryError(
      'NAME_INVALID',
      `Cannot use "${text}": its version is "${version}", a whole number from 1 was wanted`,
    );
  }
  return { name: text.slice(0, colon), version: Number(version) };
}

/**
 * Reads `name:version`: what is deleted is named wholly.
 * @throws {FerryError} NAME_INVALID when there is no version, or it is no whole number from 1
 */
export function parseFullName(text: string): Required<VersionedName> {
  const { name, version } = parseVersionedName(text);
  if (version !== undefined) return { name, version };
  throw new FerryError('NAME_INVALID', `Cannot use "${text}": it has no version, NAME:VERSION was wanted`);
}

/** Writes `name`, or `name:version` where a version is named. */
export function formatVersionedName({ name, version }: VersionedName): string {
  return version === undefined ? name : `${name}:${version}`;
}

/** A repository is kept this short, so that a registry's host and prefix fit before it in the 255 characters of both. */
const repositoryLengthMax = 128;

/**
 * Gives the OCI repository that holds a model's versions: `models/<name>`. A name that is no legal repository as it stands
 * (capitals, two signs in a row) becomes `x` with each such sign as `__` and its code in hexadecimal, and one that is too long
 * its digest, so that no two names ever meet.
 */
export function modelRepository(name: string): string {
  const plain = `models/${name}`;
  if (/^[a-z0-9]+(?:(?:[._]|-+)[a-z0-9]+)*$/.test(name) && plain.length <= repositoryLengthMax) return plain;
  const written = `models/x${name.replaceAll(/[^a-z0-9]/g, (sign) => `__${sign.charCodeAt(0).toString(16)}`)}`;
  return written.length <= repositoryLengthMax
    ? written
    : `models/x__sha256__${digestOf(name).slice('sha256:'.length)}`;
}
