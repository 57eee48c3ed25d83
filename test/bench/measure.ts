/** Takes one sample of a figure; the value is in the measure's unit. */
type Sample = () => Promise<number>;

/** A figure to reach, beside what it is compared with. */
export interface Measure {
  /** What is measured: "register a 100 MB model". */
  readonly figure: string;
  /** Unit of every sample: "ms", "req/s". */
  readonly unit: string;
  readonly sample: Sample;
  /** What the figure is divided by; without it the bar is on the figure itself. */
  readonly reference?: { readonly name: string; readonly sample: Sample };
  /** The bar, on the ratio to the reference or, without one, on the figure; none for a figure that is only told. */
  readonly bar?: { readonly atLeast: number } | { readonly atMost: number };
  /** How often figure and reference are sampled, by turns. @default 5 */
  readonly rounds?: number;
}

/** Measures that share a set-up; it is taken down when the bench is disposed of. */
export interface Bench extends AsyncDisposable {
  readonly measures: readonly Measure[];
}

/** One measured line. */
export interface Outcome {
  readonly figure: string;
  readonly unit: string;
  /** Median of the samples. */
  readonly value: number;
  readonly reference?: { readonly name: string; readonly value: number };
  /** Value over reference, where there is one. */
  readonly ratio?: number;
  /** Absent where there is none, and then it is held. */
  readonly bar?: string;
  readonly held: boolean;
}

/** Samples the figure and its reference by turns, so that what else the machine does hits both, and compares the medians. */
export async function takeMeasure(measure: Measure): Promise<Outcome> {
  const { figure, unit, sample, reference, bar, rounds = 5 } = measure;
  const values: number[] = [];
  const referenceValues: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    values.push(await sample());
    if (reference !== undefined) referenceValues.push(await reference.sample());
  }
  const value = median(values);
  if (reference === undefined) return { figure, unit, value, ...against(bar, value, unit) };
  const referenceValue = median(referenceValues);
  const ratio = value / referenceValue;
  return {
    figure,
    unit,
    value,
    reference: { name: reference.name, value: referenceValue },
    ratio,
    ...against(bar, ratio, 'x'),
  };
}

function against(bar: Measure['bar'], found: number, unit: string): Pick<Outcome, 'bar' | 'held'> {
  if (bar === undefined) return { held: true };
  return 'atLeast' in bar
    ? { bar: `>= ${bar.atLeast} ${unit}`, held: found >= bar.atLeast }
    : { bar: `<= ${bar.atMost} ${unit}`, held: found <= bar.atMost };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
