/** How far a number may be from the one of the registration, and by which share of it: other processors round otherwise. */
const tolerance = { absolute: 1e-5, relative: 1e-4 };
/** Most differences that are named; the first say what is wrong. */
const namedMax = 5;

/** Says in what an answer to a model's sample differs from the one of the registration, both JSON; nothing where it does not. */
export function answerDifference(expected: unknown, answer: unknown): string | undefined {
  const differences = differencesOf(expected, answer, '');
  if (differences.length === 0) return undefined;
  const more = differences.length > namedMax ? `; and ${differences.length - namedMax} more` : '';
  return `${differences.slice(0, namedMax).join('; ')}${more}`;
}

/** Says where two JSON values differ; numbers may a little. */
function differencesOf(expected: unknown, answer: unknown, path: string): readonly string[] {
  if (typeof expected === 'number' && typeof answer === 'number') {
    const near = Math.abs(answer - expected) <= tolerance.absolute + tolerance.relative * Math.abs(expected);
    return near ? [] : [`${path} is ${answer}, ${expected} was wanted`];
  }
  if (typeof expected !== 'object' || expected === null || typeof answer !== 'object' || answer === null) {
    // An integer that JSON's readers would round is kept as a text of digits.
    const isSame =
      typeof expected === 'string' && typeof answer === 'number' ? Number(expected) === answer : expected === answer;
    if (isSame) return [];
    return [`${path || 'the answer'} is ${JSON.stringify(answer)}, ${JSON.stringify(expected)} was wanted`];
  }
  const [wanted, got] = [Object.entries(expected), new Map<string, unknown>(Object.entries(answer))];
  if (Array.isArray(expected) && wanted.length !== got.size) {
    return [`${path} has ${got.size} elements, ${wanted.length} were wanted`];
  }
  return wanted.flatMap(([key, value]) => differencesOf(value, got.get(key), path === '' ? key : `${path}[${key}]`));
}
