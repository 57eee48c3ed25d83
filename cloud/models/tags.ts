/** Tags or properties: texts by key. */
export type Pairs = Readonly<Record<string, string>>;

/** Most tags, and most properties, that a model or image may have. */
const countMax = 100;
const keyPattern = /^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,127}$/;
/** Longest value, in characters. */
const valueLengthMax = 1024;

/** Says everything that is wrong with tags or properties; an empty list when nothing is. */
export function pairProblems(kind: 'tag' | 'property', pairs: Pairs): string[] {
  const entries = Object.entries(pairs);
  const problems = entries.flatMap(([key, value]) => {
    const found = [];
    if (!keyPattern.test(key)) {
      found.push(
        `the ${kind} key is ${JSON.stringify(key)}, 1 to 128 letters, digits, ".", "_", "-" and "/" were wanted, a letter or digit first`,
      );
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
