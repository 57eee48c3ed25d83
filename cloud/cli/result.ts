import type { FerryError } from '../../shared/errors.ts';

/** What a command gives: one value as a document for programs, and the same as text for people. */
export interface CommandResult {
  /** Printed with `--json`. */
  readonly json: unknown;
  /** Printed without; no line break at the end. */
  readonly text: string;
  /** What makes the command fail all the same, after it was printed. */
  readonly failure?: FerryError;
}

/** Writes tags or properties for people: `area=vision, stage=test`. */
export function pairsText(pairs: Readonly<Record<string, string>>): string {
  return Object.entries(pairs)
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join(', ');
}
