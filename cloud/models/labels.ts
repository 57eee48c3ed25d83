import { FerryError } from '../../shared/errors.ts';

/** Tags or properties: texts by key. */
export type Pairs = Readonly<Record<string, string>>;

/** What people and programs write onto a model or image. */
export interface Labels {
  /** May be changed at any time. */
  readonly tags: Pairs;
  /** New ones may be added; one that is there stays as it is, for good. */
  readonly properties: Pairs;
  readonly description: string;
}

/** A change of labels; what is not named stays. */
export interface LabelChange {
  /** Replaces all tags. */
  readonly setTags?: Pairs;
  readonly addTags?: Pairs;
  /** Keys of tags. */
  readonly removeTags?: readonly string[];
  readonly addProperties?: Pairs;
  readonly description?: string;
}

/** Most tags, and most properties, that a model or image may have. */
const countMax = 100;
const keyPattern = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/;
/** Longest value, in characters. */
const valueLengthMax = 1024;
/** Longest description, in characters. */
const descriptionLengthMax = 4096;

/**
 * Gives labels as they are after a change. Tags are replaced first, then removed, then added.
 * @throws {FerryError} TAG_INVALID naming everything that the change does not respect
 */
export function changeLabels(before: Labels, change: LabelChange): Labels {
  const { setTags, addTags = {}, removeTags = [], addProperties = {}, description = before.description } = change;
  const kept = Object.entries(setTags ?? before.tags).filter(([key]) => !removeTags.includes(key));
  const after = {
    tags: { ...Object.fromEntries(kept), ...addTags },
    properties: { ...before.properties, ...addProperties },
    description,
  };
  const problems = [
    ...removeTags.filter((key) => !Object.hasOwn(before.tags, key)).map((key) => `there is no tag "${key}" to remove`),
    ...Object.entries(before.properties)
      .filter(([key, value]) => after.properties[key] !== value)
      .map(([key, value]) => `the property "${key}" is "${value}" and stays so`),
    ...labelProblems(after),
  ];
  if (problems.length === 0) return after;
  throw new FerryError('TAG_INVALID', `Cannot change tags and properties: ${problems.join('; ')}`);
}

/** Says everything that is outside of the rules; an empty list when nothing is. */
export function labelProblems({ tags = {}, properties = {}, description = '' }: Partial<Labels>): string[] {
  const problems = [...pairProblems('tag', tags), ...pairProblems('property', properties)];
  if (description.length > descriptionLengthMax) {
    problems.push(`the description has ${description.length} characters, at most ${descriptionLengthMax} were wanted`);
  }
  return problems;
}

function pairProblems(kind: 'tag' | 'property', pairs: Pairs): string[] {
  const entries = Object.entries(pairs);
  const problems = entries.flatMap(([key, value]) => {
    const found: string[] = [];
    if (!keyPattern.test(key)) {
      const rule = '1 to 128 letters, digits, ".", "_", "-" and "/" were wanted, a letter or digit first';
      found.push(`the ${kind} key is ${JSON.stringify(key)}, ${rule}`);
    }
    if (value.length > valueLengthMax) {
      found.push(`the ${kind} "${key}" has ${value.length} characters, at most ${valueLengthMax} were wanted`);
    }
    if (/\p{Cc}/u.test(value)) found.push(`the ${kind} "${key}" holds a control character, printable text was wanted`);
    return found;
  });
  const many = kind === 'tag' ? 'tags' : 'properties';
  if (entries.length > countMax) problems.push(`there are ${entries.length} ${many}, at most ${countMax} were wanted`);
  return problems;
}
