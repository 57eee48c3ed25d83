/** What the journey came to. */
export interface Summary {
  readonly model: string;
  readonly image: string;
  /** Sizes in bytes. */
  readonly bytes: { readonly model: number; readonly built: number; readonly pushed: number };
  readonly device: string;
  readonly service: string;
  /** Where the service answers while it is up. */
  readonly address: string;
  /** The hub's own counts of the deployment. */
  readonly deployment: Readonly<Record<string, number>>;
  /** Share of the held-out rows that were scored right, from 0 to 1. */
  readonly accuracy: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  readonly rows: {
    readonly inputs: number;
    readonly predictions: number;
    readonly joined: number;
    readonly missing: number;
    readonly doubled: number;
    readonly blobs: number;
  };
  readonly blobs: string;
  readonly seconds: number;
}

/** Lays the summary out as a table of two columns. */
export function summaryText(summary: Summary): string {
  const { bytes, deployment, latencyMs, rows } = summary;
  const lines: [string, string][] = [
    ['model', summary.model],
    ['image', summary.image],
    ['bytes', `model ${bytes.model}, image built ${bytes.built}, pushed ${bytes.pushed}`],
    ['device', summary.device],
    ['service', summary.service],
    ['deployment', `${deployment['appliedCount']} applied, ${deployment['reportedSuccessfulCount']} successful`],
    ['accuracy', summary.accuracy.toFixed(4)],
    ['latency', `p50 ${latencyMs.p50.toFixed(2)} ms, p99 ${latencyMs.p99.toFixed(2)} ms`],
    ['rows', `${rows.inputs} inputs and ${rows.predictions} predictions uploaded, ${rows.joined} joined`],
    ['losses', `${rows.missing} missing, ${rows.doubled} doubled`],
    ['blobs', `${rows.blobs} in ${summary.blobs}`],
    ['time', `${summary.seconds.toFixed(1)} s`],
  ];
  return `\n${lines.map(([name, value]) => `${name.padEnd(12)}${value}`).join('\n')}`;
}
