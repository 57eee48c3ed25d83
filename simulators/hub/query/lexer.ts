import { HubError } from '../hub-error.ts';

/** A piece of a query. Words keep the case they were written in. */
export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'number' | 'sign' | 'end';
  /** The text; of a string or a `[[quoted]]` word what is between its quotes. */
  readonly text: string;
  /** Where it starts, in characters from 0. */
  readonly at: number;
}

/** What a query may have at most, in characters. */
const queryCharsMax = 32_768;

/** The pieces, tried in this order; named groups say what it is. */
const patterns = new RegExp(
  [
    String.raw`(?<space>\s+)`,
    String.raw`\[\[(?<quoted>[^\]]+)\]\]`,
    String.raw`(?<number>0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)`,
    String.raw`(?<word>[A-Za-z_$][A-Za-z0-9_$]*)`,
    String.raw`'(?<single>(?:[^'\\]|\\.)*)'`,
    String.raw`"(?<double>(?:[^"\\]|\\.)*)"`,
    String.raw`(?<sign><>|<=|>=|!=|[=<>+\-*/%(),.[\]])`,
  ].join('|'),
  'suy',
);

/** Cuts a query into its pieces, with one of kind `end` at the end. @throws {HubError} ArgumentInvalid */
export function lex(query: string): readonly Token[] {
  if (query.length > queryCharsMax) {
    throw new HubError(
      'ArgumentInvalid',
      `The query has ${query.length} characters, ${queryCharsMax} at most are allowed`,
    );
  }
  const tokens: Token[] = [];
  let at = 0;
  while (at < query.length) {
    patterns.lastIndex = at;
    const groups = patterns.exec(query)?.groups;
    if (groups === undefined) {
      throw new HubError('ArgumentInvalid', `The query is not valid at character ${at}: "${query.slice(at, at + 20)}"`);
    }
    const token = tokenOf(groups, at);
    if (token !== undefined) tokens.push(token);
    at = patterns.lastIndex;
  }
  return [...tokens, { kind: 'end', text: 'the end', at }];
}

function tokenOf(groups: Readonly<Record<string, string | undefined>>, at: number): Token | undefined {
  const { quoted, number, word, single, double, sign } = groups;
  if (quoted !== undefined) return { kind: 'quoted', text: quoted, at };
  if (number !== undefined) return { kind: 'number', text: number, at };
  if (word !== undefined) return { kind: 'word', text: word, at };
  if (sign !== undefined) return { kind: 'sign', text: sign, at };
  const text = single ?? double;
  return text === undefined ? undefined : { kind: 'string', text: unescape(text), at };
}

function unescape(text: string): string {
  return text.replaceAll(/\\(?:u([0-9a-fA-F]{4})|(.))/gsu, (_whole, code: string | undefined, letter: string) =>
    code === undefined ? letter : String.fromCodePoint(Number.parseInt(code, 16)),
  );
}
