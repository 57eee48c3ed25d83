import type { ModuleSpec } from './module-spec.ts';

/** Names of variables whose values nobody else is to read. */
const secretName = /key|secret|passw|pwd|token|credential|connection_?string|sas|signature|auth/i;
/** Secrets by their look, wherever they come from: parts of connection strings, signed addresses, headers, passwords in addresses. */
const secretLooks: readonly [RegExp, string][] = [
  [/((?:SharedAccess|Account)Key=)[^;&\s"']+/gi, '$1[secret]'],
  [/([?&;]?\bsig=)[^;&\s"']+/gi, '$1[secret]'],
  [/(SharedAccessSignature=)[^;\s"']+/gi, '$1[secret]'],
  [/(\b(?:Bearer|Basic)\s+)[\w+/=.~-]{8,}/g, '$1[secret]'],
  [/(:\/\/[^\s:@/]*:)[^\s@/]+(?=@)/g, '$1[secret]'],
];
/** Shortest value that is looked for: what is shorter stands in too many words. */
const valueLengthMin = 6;

/** Takes out of a module's output what it was given in confidence, and what looks like a secret. */
export function withoutSecrets(
  text: string,
  { environment, createOptions }: Pick<ModuleSpec, 'environment' | 'createOptions'>,
): string {
  const given = [...Object.entries(environment), ...(createOptions.Env ?? []).map(splitPair)];
  const values = given.filter(([name, value]) => secretName.test(name) && value.length >= valueLengthMin);
  const known = values.reduce((left, [, value]) => left.replaceAll(value, '[secret]'), text);
  return secretLooks.reduce((left, [look, instead]) => left.replace(look, instead), known);
}

function splitPair(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
}
