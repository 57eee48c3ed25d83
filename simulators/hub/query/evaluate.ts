import { isObject } from '../json.ts';
import type { Expression } from './parser.ts';

/** One row that a query looks at: a twin or job as JSON. */
export type Row = Readonly<Record<string, unknown>>;

/** Says whether a row meets a condition; what is undefined does not. */
export function holds(condition: Expression | undefined, row: Row): boolean {
  return condition === undefined || evaluate(condition, row) === true;
}

/** Computes an expression for a row; `undefined` where a property is not there or types do not go together. */
export function evaluate(expression: Expression, row: Row): unknown {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'path':
      return follow(expression.segments, row);
    case 'list':
      return expression.items.map((item) => evaluate(item, row));
    case 'unary':
      return unary(expression.operator, evaluate(expression.operand, row));
    case 'binary':
      return binary(expression, row);
    case 'call':
      return call(
        expression.name,
        expression.arguments.map((argument) => evaluate(argument, row)),
      );
    default:
      return expression satisfies never;
  }
}

/** Names of the collections that a path may start with; they are no properties of a row. */
const collectionWords = new Map([['devices', ['modules', 'jobs']]]);

function follow(segments: readonly string[], row: Row): unknown {
  let from = 0;
  const first = segments[0]?.toLowerCase() ?? '';
  const inner = collectionWords.get(first);
  if (inner !== undefined) from = inner.includes(segments[1]?.toLowerCase() ?? '') ? 2 : 1;
  let at: unknown = row;
  for (const segment of segments.slice(from)) {
    if (!isObject(at) || !Object.hasOwn(at, segment)) return undefined;
    at = at[segment];
  }
  return at;
}

function unary(operator: 'NOT' | '-', value: unknown): unknown {
  if (operator === 'NOT') return typeof value === 'boolean' ? !value : undefined;
  return typeof value === 'number' ? -value : undefined;
}

function binary(
  { operator, left: leftSide, right: rightSide }: Extract<Expression, { readonly kind: 'binary' }>,
  row: Row,
): unknown {
  const left = evaluate(leftSide, row);
  if (operator === 'AND' && left === false) return false;
  if (operator === 'OR' && left === true) return true;
  const right = evaluate(rightSide, row);
  if (operator === 'AND') return right === false ? false : left === true && right === true ? true : undefined;
  if (operator === 'OR') return right === true ? true : left === false && right === false ? false : undefined;
  if (operator === 'IN' || operator === 'NIN') {
    if (!isPrimitive(left) || !Array.isArray(right)) return undefined;
    return right.includes(left) === (operator === 'IN');
  }
  return typeof left === 'number' && typeof right === 'number' && '+-*/%'.includes(operator)
    ? arithmetic(operator, left, right)
    : compare(operator, left, right);
}

function arithmetic(operator: string, left: number, right: number): number | undefined {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return right === 0 ? undefined : left / right;
    default:
      return right === 0 ? undefined : left % right;
  }
}

function compare(operator: string, left: unknown, right: unknown): boolean | undefined {
  if (!isPrimitive(left) || !isPrimitive(right)) return undefined;
  if (operator === '=') return left === right;
  if (operator === '!=' || operator === '<>') return left !== right;
  const areNumbers = typeof left === 'number' && typeof right === 'number';
  const areStrings = typeof left === 'string' && typeof right === 'string';
  if (!areNumbers && !areStrings) return undefined;
  const [a, b] = [left as number, right as number];
  switch (operator) {
    case '<':
      return a < b;
    case '>':
      return a > b;
    case '<=':
      return a <= b;
    case '>=':
      return a >= b;
    default:
      return undefined;
  }
}

function call(name: string, values: readonly unknown[]): unknown {
  const [first, second] = values;
  switch (name) {
    case 'IS_DEFINED':
      return first !== undefined;
    case 'IS_NULL':
      return first === null;
    case 'IS_STRING':
      return typeof first === 'string';
    case 'IS_NUMBER':
      return typeof first === 'number';
    case 'IS_BOOL':
      return typeof first === 'boolean';
    case 'IS_OBJECT':
      return isObject(first);
    case 'IS_PRIMITIVE':
      return isPrimitive(first);
    default:
      return typeof first === 'string' && typeof second === 'string' ? ofStrings(name, first, second) : undefined;
  }
}

function ofStrings(name: string, text: string, part: string): boolean | undefined {
  if (name === 'STARTSWITH' || name === 'STARTS_WITH') return text.startsWith(part);
  if (name === 'ENDSWITH' || name === 'ENDS_WITH') return text.endsWith(part);
  return name === 'CONTAINS' ? text.includes(part) : undefined;
}

function isPrimitive(value: unknown): value is string | number | boolean | null {
  return value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}
