import { FerryError } from '../../shared/errors.ts';
import { imageNameProblem, type VersionedName } from '../../shared/model/name.ts';
import { labelProblems, type Pairs } from '../models/labels.ts';
import { findModel, type Model } from '../models/model.ts';
import type { WorkspaceDatabase } from '../workspace/database.ts';
import type { Flavor } from './flavor.ts';

/** What an image is built of. */
export interface ImageRequest {
  /** At least one where there is no script; their order does not matter. */
  readonly models: readonly VersionedName[];
  /** File of a script that answers in place of the first model. */
  readonly script?: string;
  /** Files and folders below the script's folder that it reads at run time. */
  readonly include?: readonly string[];
  /** @default the model's name, where there is one model only */
  readonly name?: string;
  /** `linux/amd64` or `linux/arm64`, or both with `,` between. @default this machine's */
  readonly platform?: string;
  /** Reference of an image to build upon. @default this machine's Node and libraries */
  readonly base?: string;
  /** Whether the graphs of the models are optimised once, here. @default false */
  readonly optimize?: boolean;
  /** @default 'web' */
  readonly flavor?: Flavor;
  /** Labels in the image itself, beside those that every image has. */
  readonly labels?: Pairs;
  readonly description?: string;
  readonly tags?: Pairs;
  readonly properties?: Pairs;
}

/** Labels that say what the image was built of, and are not to be said otherwise. */
const ownLabels = /^(vnd\.modelferry\.|org\.opencontainers\.image\.base\.)/;

/**
 * Checks what was asked for, and gives the image's name.
 * @throws {FerryError} USAGE, NAME_INVALID or TAG_INVALID
 */
export function checkRequest(request: ImageRequest): string {
  const { models, script, include = [], labels = {} } = request;
  const [first, ...more] = models;
  if (first === undefined && script === undefined) {
    throw usage(
      'neither a model nor a script was given, one of them was wanted',
      'Add --model, --model-file or --script.',
    );
  }
  if (script === undefined && include.length > 0) {
    throw usage('files are included for a script, and there is none', 'Add --script.');
  }
  const name = request.name ?? (more.length === 0 ? first?.name : undefined);
  if (name === undefined) {
    throw usage(
      first === undefined ? 'it has no model and no name' : 'it has several models and no name',
      'Add --name.',
    );
  }
  const nameProblem = imageNameProblem(name);
  const others = [
    ...labelProblems(request),
    ...labelProblems({ properties: labels }).map((problem) => problem.replaceAll('property', 'label')),
    ...Object.keys(labels)
      .filter((key) => ownLabels.test(key))
      .map((key) => `the label "${key}" is one that is written by itself`),
  ];
  if (nameProblem === undefined && others.length === 0) return name;
  const all = [...(nameProblem === undefined ? [] : [nameProblem]), ...others].join('; ');
  throw new FerryError(nameProblem === undefined ? 'TAG_INVALID' : 'NAME_INVALID', `Cannot build the image: ${all}`);
}

/**
 * Finds the models, in an order that does not depend on the one they were asked for in.
 * @throws {FerryError} MODEL_NOT_FOUND when one is not registered
 * @throws {FerryError} IMAGE_INVALID when two versions of one model were asked for
 */
export function findModels(database: WorkspaceDatabase, wanted: readonly VersionedName[]): readonly Model[] {
  const found = new Map<string, Model>();
  for (const model of wanted.map((name) => findModel(database, name))) {
    const before = found.get(model.name);
    if (before !== undefined && before.version !== model.version) {
      throw new FerryError(
        'IMAGE_INVALID',
        `Cannot build an image of "${model.name}" in versions ${before.version} and ${model.version}: they have the same path, one version was wanted`,
      );
    }
    found.set(model.name, model);
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function usage(found: string, next: string): FerryError {
  return new FerryError('USAGE', `Cannot build an image: ${found}`, { next });
}
