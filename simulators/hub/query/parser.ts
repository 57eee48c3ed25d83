import { HubError } from '../hub-error.ts';
import { type Token, lex } from './lexer.ts';

/** A value that a query computes. */
export type Expression =
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | { readonly kind: 'path'; readonly segments: readonly string[] }
  | { readonly kind: 'list'; readonly items: readonly Expression[] }
  | { readonly kind: 'unary'; readonly operator: 'NOT' | '-'; readonly operand: Expression }
  | { readonly kind: 'binary'; readonly operator: string; readonly left: Expression; readonly right: Expression }
  | { readonly kind: 'call'; readonly name: string; readonly arguments: readonly Expression[] };

/** What a query is asked of. */
export type Collection = 'devices' | 'devices.modules' | 'devices.jobs';

/** One column of a projection. */
export interface SelectItem {
  readonly name: string;
  readonly expression: Expression;
}

/** A parsed query. */
export interface Query {
  readonly top: number | undefined;
  readonly select: '*' | readonly SelectItem[];
  readonly from: Collection;
  readonly where: Expression | undefined;
  readonly groupBy: readonly Expression[];
}

/** The functions that a query may call, in upper case, with how many arguments. */
const functions: Readonly<Record<string, readonly [min: number, max: number]>> = {
  IS_DEFINED: [1, 1],
  IS_NULL: [1, 1],
  IS_STRING: [1, 1],
  IS_NUMBER: [1, 1],
  IS_BOOL: [1, 1],
  IS_OBJECT: [1, 1],
  IS_PRIMITIVE: [1, 1],
  STARTSWITH: [2, 2],
  STARTS_WITH: [2, 2],
  ENDSWITH: [2, 2],
  ENDS_WITH: [2, 2],
  CONTAINS: [2, 2],
  COUNT: [0, 1],
  SUM: [1, 1],
  AVG: [1, 1],
  MIN: [1, 1],
  MAX: [1, 1],
};

/** The functions that take many rows to one value. */
export const aggregates = ['COUNT', 'SUM', 'AVG', 'MIN', 'MAX'] as const;

/** How tightly binary operators bind; those of one row from left to right. */
const precedence: readonly (readonly string[])[] = [
  ['OR'],
  ['AND'],
  ['=', '!=', '<>', '<', '>', '<=', '>=', 'IN', 'NIN'],
  ['+', '-'],
  ['*', '/', '%'],
];
const depthMax = 64;

/** Parses a whole query. @throws {HubError} ArgumentInvalid saying where it is wrong */
export function parseQuery(text: string): Query {
  const parser = new Parser(text);
  const query = parser.query();
  parser.end();
  return query;
}

/**
 * Parses the condition of a deployment: an expression, or `FROM devices.modules WHERE` and one.
 * @throws {HubError} ArgumentInvalid
 */
export function parseCondition(text: string): { readonly from: Collection; readonly where: Expression | undefined } {
  const parser = new Parser(text);
  const from = parser.takeWord('FROM') ? parser.collection() : 'devices';
  const hasFrom = from !== 'devices';
  const where = hasFrom && !parser.takeWord('WHERE') ? undefined : parser.expression();
  parser.end();
  return { from, where };
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#tokens = lex(text);
  }

  query(): Query {
    this.#expectWord('SELECT');
    const top = this.takeWord('TOP') ? this.#count() : undefined;
    const select = this.#takeSign('*') ? '*' : this.#items();
    this.#expectWord('FROM');
    const from = this.collection();
    const where = this.takeWord('WHERE') ? this.expression() : undefined;
    const groupBy: Expression[] = [];
    if (this.takeWord('GROUP')) {
      this.#expectWord('BY');
      do groupBy.push(this.#path());
      while (this.#takeSign(','));
    }
    return { top, select, from, where, groupBy };
  }

  collection(): Collection {
    const name = this.#path()
      .segments.map((segment) => segment.toLowerCase())
      .join('.');
    if (name === 'devices' || name === 'devices.modules' || name === 'devices.jobs') return name;
    return this.#refuse('devices, devices.modules or devices.jobs was wanted');
  }

  expression(level = 0): Expression {
    const operators = precedence[level];
    if (operators === undefined) return this.#unary();
    // NOT binds looser than a comparison and tighter than AND.
    if (level === 2 && this.takeWord('NOT')) {
      return { kind: 'unary', operator: 'NOT', operand: this.#deeper(() => this.expression(2)) };
    }
    let left = this.expression(level + 1);
    for (;;) {
      const operator = this.#takeOperator(operators);
      if (operator === undefined) return left;
      const right = operator === 'IN' || operator === 'NIN' ? this.#list() : this.expression(level + 1);
      left = { kind: 'binary', operator, left, right };
    }
  }

  takeWord(word: string): boolean {
    const token = this.#token;
    if (token.kind !== 'word' || token.text.toUpperCase() !== word) return false;
    this.#at += 1;
    return true;
  }

  end(): void {
    if (this.#token.kind !== 'end') this.#refuse('the end was wanted');
  }

  #unary(): Expression {
    if (this.#takeSign('-')) {
      return { kind: 'unary', operator: '-', operand: this.#deeper(() => this.#unary()) };
    }
    return this.#primary();
  }

  #primary(): Expression {
    const token = this.#token;
    if (this.#takeSign('(')) {
      const inner = this.#deeper(() => this.expression());
      this.#expectSign(')');
      return inner;
    }
    if (token.kind === 'sign' && token.text === '[') return this.#list();
    if (token.kind === 'string') {
      this.#at += 1;
      return { kind: 'literal', value: token.text };
    }
    if (token.kind === 'number') {
      this.#at += 1;
      return { kind: 'literal', value: Number(token.text) };
    }
    if (this.takeWord('TRUE')) return { kind: 'literal', value: true };
    if (this.takeWord('FALSE')) return { kind: 'literal', value: false };
    if (this.takeWord('NULL')) return { kind: 'literal', value: null };
    const next = this.#tokens[this.#at + 1];
    if (token.kind === 'word' && next?.kind === 'sign' && next.text === '(') return this.#call(token.text);
    return this.#path();
  }

  #call(written: string): Expression {
    const name = written.toUpperCase();
    const arity = Object.hasOwn(functions, name) ? functions[name] : undefined;
    if (arity === undefined) return this.#refuse(`"${written}" is no function`);
    this.#at += 2;
    const given: Expression[] = [];
    if (name === 'COUNT' && this.#takeSign('*')) this.#expectSign(')');
    else if (!this.#takeSign(')')) {
      do given.push(this.#deeper(() => this.expression()));
      while (this.#takeSign(','));
      this.#expectSign(')');
    }
    if (given.length < arity[0] || given.length > arity[1]) {
      return this.#refuse(`${name} takes ${arity[1]} arguments, ${given.length} were given`);
    }
    return { kind: 'call', name, arguments: given };
  }

  #list(): Expression {
    this.#expectSign('[');
    const items: Expression[] = [];
    if (this.#takeSign(']')) return { kind: 'list', items };
    do items.push(this.#deeper(() => this.expression(3)));
    while (this.#takeSign(','));
    this.#expectSign(']');
    return { kind: 'list', items };
  }

  #path(): Extract<Expression, { readonly kind: 'path' }> {
    const segments = [this.#segment()];
    while (this.#takeSign('.')) segments.push(this.#segment());
    return { kind: 'path', segments };
  }

  #segment(): string {
    const token = this.#token;
    if (token.kind !== 'word' && token.kind !== 'quoted') return this.#refuse('a property was wanted');
    this.#at += 1;
    return token.text;
  }

  #items(): readonly SelectItem[] {
    const items: SelectItem[] = [];
    do {
      const expression = this.expression(3);
      const name = this.takeWord('AS') ? this.#segment() : nameOf(expression);
      items.push({ name, expression });
    } while (this.#takeSign(','));
    return items;
  }

  #count(): number {
    const token = this.#token;
    if (token.kind !== 'number' || !/^\d{1,9}$/.test(token.text)) return this.#refuse('a whole number was wanted');
    this.#at += 1;
    return Number(token.text);
  }

  #takeOperator(operators: readonly string[]): string | undefined {
    const { kind, text } = this.#token;
    const operator = kind === 'word' ? text.toUpperCase() : text;
    if ((kind !== 'word' && kind !== 'sign') || !operators.includes(operator)) return undefined;
    this.#at += 1;
    return operator;
  }

  #takeSign(sign: string): boolean {
    if (this.#token.kind !== 'sign' || this.#token.text !== sign) return false;
    this.#at += 1;
    return true;
  }

  #expectSign(sign: string): void {
    if (!this.#takeSign(sign)) this.#refuse(`"${sign}" was wanted`);
  }

  #expectWord(word: string): void {
    if (!this.takeWord(word)) this.#refuse(`${word} was wanted`);
  }

  #deeper<T>(work: () => T): T {
    if (this.#depth >= depthMax) this.#refuse(`nested deeper than ${depthMax}`);
    this.#depth += 1;
    const result = work();
    this.#depth -= 1;
    return result;
  }

  get #token(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: 'the end', at: -1 };
  }

  #refuse(why: string): never {
    const { text, at } = this.#token;
    throw new HubError(
      'ArgumentInvalid',
      `The query is not valid at character ${at}, "${text.slice(0, 40)}": ${why}`.replaceAll(';', ','),
    );
  }
}

function nameOf(expression: Expression): string {
  if (expression.kind === 'path') return expression.segments.at(-1) ?? '';
  return expression.kind === 'call' ? expression.name.toLowerCase() : 'value';
}
