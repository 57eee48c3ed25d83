import Table from 'cli-table3';

/** Lays out rows under headings, without lines, as wide as their content. */
export function table(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const head = headings.map((heading) => heading.toUpperCase());
  const cells = rows.map((row) => row.map(String));
  const lines = isPlain([head, ...cells]) ? padded([head, ...cells]) : drawn(head, cells);
  return lines.map((line) => line.trimEnd()).join('\n');
}

/** Says whether every character is one column wide and every cell one line high. */
function isPlain(rows: readonly (readonly string[])[]): boolean {
  return rows.every((row) => row.every((cell) => /^[ -~]*$/.test(cell)));
}

/** Looking up how wide characters are takes 14 ms for the first table, which plain text does without. */
function padded(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) row.forEach((cell, at) => (widths[at] = Math.max(widths[at] ?? 0, cell.length)));
  return rows.map((row) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' '));
}

function drawn(head: string[], rows: string[][]): readonly string[] {
  const grid = new Table({ head, chars: noLines, style: plain });
  grid.push(...rows);
  return grid.toString().split('\n');
}

/** Lays out one thing's fields, a line each; fields without a value are left out. */
export function fields(entries: Readonly<Record<string, string | number | undefined>>): string {
  const present = Object.entries(entries).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
  const width = Math.max(0, ...present.map(([name]) => name.length));
  return present.map(([name, value]) => `${name.padEnd(width)}  ${indentLines(String(value), width + 2)}`).join('\n');
}

/** Writes a number of bytes for people, by powers of 1,000: `4.2 MB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  const power = Math.min(Math.floor(Math.log10(bytes) / 3), units.length);
  const value = bytes / 1000 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power - 1]}`;
}

function indentLines(text: string, columns: number): string {
  return text.replaceAll('\n', `\n${' '.repeat(columns)}`);
}

const noLines = Object.fromEntries(
  ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
    .concat(['left', 'left-mid', 'mid', 'mid-mid', 'middle', 'right', 'right-mid'])
    .map((place) => [place, '']),
);
const plain = { head: [], border: [], 'padding-left': 0, 'padding-right': 1 };
