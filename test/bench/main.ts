import { globSync } from 'node:fs';
import { basename } from 'node:path';
import { type Bench, type Outcome, takeMeasure } from './measure.ts';
import { runInOwnNetwork } from './own-network.ts';

// `npm run bench -- NAME [--json]`: measures, prints a table or one JSON document, exits 1 where a bar is not held.
process.exitCode = await main(process.argv.slice(2));

/** What a module of a benchmark has. */
interface BenchModule {
  readonly openBench: () => Promise<Bench>;
  /** Whether it measures what goes over the loopback network, and nothing elsewhere. @default false */
  readonly isOfNetwork?: boolean;
}

async function main(args: readonly string[]): Promise<number> {
  const [name, ...more] = args.filter((arg) => arg !== '--json');
  const names = globSync('*.bench.ts', { cwd: import.meta.dirname }).map((file) => basename(file, '.bench.ts'));
  if (name === undefined || more.length > 0 || !names.includes(name)) {
    process.stderr.write(`usage: npm run bench -- NAME [--json]\nNAME is one of: ${names.toSorted().join(', ')}\n`);
    return 2;
  }
  const { openBench, isOfNetwork = false } = (await import(`./${name}.bench.ts`)) as BenchModule;
  const exitCode = isOfNetwork ? runInOwnNetwork() : undefined;
  if (exitCode !== undefined) return exitCode;
  await using bench = await openBench();
  const outcomes: Outcome[] = [];
  for (const measure of bench.measures) {
    process.stderr.write(`measuring: ${measure.figure}\n`);
    outcomes.push(await takeMeasure(measure));
  }
  const held = outcomes.every((outcome) => outcome.held);
  if (args.includes('--json'))
    process.stdout.write(`${JSON.stringify({ bench: name, held, outcomes }, undefined, 2)}\n`);
  else process.stdout.write(`${tableText(outcomes)}\n`);
  return held ? 0 : 1;
}

function tableText(outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ figure, unit, value, reference, ratio, bar, held }) => [
    figure,
    `${numberText(value)} ${unit}`,
    reference === undefined ? '-' : `${reference.name}: ${numberText(reference.value)} ${unit}`,
    ratio === undefined ? '-' : numberText(ratio),
    bar ?? '-',
    bar === undefined ? '' : held ? 'held' : 'NOT HELD',
  ]);
  const all = [['FIGURE', 'VALUE', 'REFERENCE', 'RATIO', 'BAR', ''], ...rows];
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function numberText(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 4 });
}
