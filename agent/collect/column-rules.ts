import type { CollectSettings } from './collect-settings.ts';
import { type Feature, featureColumns, type FeatureSet } from './feature-set.ts';
import { isText, type Tensor, type TensorData } from './tensor.ts';

/** What the settings say of columns. */
export type ColumnSettings = Pick<CollectSettings, 'redact' | 'columns'>;

/** A feature of which something stays. */
interface KeptFeature {
  /** Its place among the tensors. */
  readonly tensor: number;
  /** Elements of the tensor in one row. */
  readonly width: number;
  /** Elements of one row that stay; undefined for all. */
  readonly elements: readonly number[] | undefined;
}

/** What the settings make of one set of features: columns get their declared names, and what is redacted is left out. */
export class ColumnRules {
  /** What stays. */
  readonly features: FeatureSet;
  readonly #kept: readonly KeptFeature[];

  private constructor(features: FeatureSet, kept: readonly KeptFeature[]) {
    this.features = features;
    this.#kept = kept;
  }

  /** Gives the rules for a set of features; undefined where they change nothing. */
  static of(features: FeatureSet, { redact, columns }: ColumnSettings): ColumnRules | undefined {
    if (redact.length === 0 && Object.keys(columns).length === 0) return undefined;
    const redacted = new Set(redact);
    const stays: Feature[] = [];
    const kept: KeptFeature[] = [];
    for (const [tensor, feature] of features.entries()) {
      const declared = columns[feature.name];
      // Names that are not as many as the columns are names of something else.
      const names = declared?.length === feature.width ? declared : undefined;
      const named: Feature = names === undefined ? feature : { ...feature, columns: names };
      const own = featureColumns(named);
      const elements = redacted.has(feature.name) ? [] : keysWhere(own, (name) => !redacted.has(name));
      if (elements.length === 0 && own.length > 0) continue;
      const whole = elements.length === feature.width;
      stays.push(
        whole ? named : { ...named, width: elements.length, columns: elements.map((element) => own[element] ?? '') },
      );
      kept.push({ tensor, width: feature.width, elements: whole ? undefined : elements });
    }
    return new ColumnRules(stays, kept);
  }

  /** Takes out of tensors what stays. */
  apply(tensors: readonly Tensor[], rows: number): readonly Tensor[] {
    return this.#kept.flatMap(({ tensor, width, elements }) => {
      const given = tensors[tensor];
      if (given === undefined) return [];
      if (elements === undefined) return [given];
      return [{ ...given, shape: [rows, elements.length], data: gather(given.data, { rows, width, elements }) }];
    });
  }
}

function gather(
  data: TensorData,
  of: { readonly rows: number; readonly width: number; readonly elements: readonly number[] },
): TensorData {
  const { rows, width, elements } = of;
  const places = Array.from({ length: rows }, (_, row) => elements.map((element) => row * width + element)).flat();
  if (isText(data)) return places.map((place) => data[place] ?? '');
  const gathered = data.slice(0, places.length);
  for (const [to, from] of places.entries()) gathered[to] = data[from] ?? 0;
  return gathered;
}

function keysWhere(names: readonly string[], stays: (name: string) => boolean): number[] {
  return names.flatMap((name, index) => (stays(name) ? [index] : []));
}
