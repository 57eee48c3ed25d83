import { type Command, InvalidArgumentError, Option } from 'commander';
import { startProgress } from '../cli/progress.ts';
import type { CommandResult } from '../cli/result.ts';
import { bytesText, fields, table } from '../../shared/text-layout.ts';
import { addWork, positiveInteger } from '../cli/session.ts';
import { DataContainer } from '../azure/data-container.ts';
import { type DataFilter, designations } from '../data/blob-path.ts';
import { type DataBlob, findBlobs } from '../data/find-blobs.ts';
import { type PullReport, pullData } from '../data/pull.ts';

/** The filter's flags, as `commander` names them. */
interface FilterFlags extends Omit<DataFilter, 'fromMs' | 'beforeMs'> {
  readonly from?: number;
  readonly to?: number;
}

interface PullCommandOptions extends FilterFlags {
  readonly out: string;
  readonly skipDamaged?: boolean;
}

/** Adds the verbs of `ferry data`. */
export function addDataVerbs(noun: Command): void {
  const list = noun.command('list').description('list the blobs of collected rows');
  list.option('--service <name>', 'only of this service', pathPart);
  addWork<FilterFlags>(addFilter(list), async (session, flags) => {
    const filter = filterOf(flags);
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    const { selected } = await findBlobs(container, { scope: workspace.scope, filter, signal: session.signal });
    return describeBlobs(selected, container.address);
  });

  const pull = noun
    .command('pull')
    .description('join inputs, predictions and labels of every row into one file; cut short, the same call goes on')
    .requiredOption('--service <name>', 'the service whose rows to pull', pathPart)
    .requiredOption('--out <file>', 'the file to write, CSV or *.parquet; one that is there is replaced')
    .option('--skip-damaged', 'leave blobs out that contradict themselves or another one, instead of failing');
  addWork<PullCommandOptions>(addFilter(pull), async (session, { out, skipDamaged = false, ...flags }) => {
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    using reading = startProgress('pull', { format: bytesText });
    using writing = startProgress(`write ${out}`, { format: (rows) => `${rows} rows` });
    const report = await pullData(container, {
      scope: workspace.scope,
      filter: filterOf(flags),
      out,
      skipDamaged,
      signal: session.signal,
      onProgress: (step, done, total) => (step === 'read' ? reading : writing).update(done, total),
    });
    return describePull(report, out);
  });
}

function addFilter(verb: Command): Command {
  return verb
    .option('--model <name>', 'only of this model', pathPart)
    .option('--version <number>', 'only of this version of the model', positiveInteger)
    .addOption(new Option('--designation <name>', 'only rows of this kind').choices(designations))
    .option('--device <id>', 'only from this device', pathPart)
    .option(
      '--from <time>',
      'first day or moment, in UTC: 2026-11-01, 2026-11-01T09:30',
      (text) => timeSpan(text).fromMs,
    )
    .option('--to <time>', 'last day, included, or the moment before which', (text) => timeSpan(text).beforeMs);
}

function filterOf({ from, to, ...filter }: FilterFlags): DataFilter {
  return { ...filter, ...(from === undefined ? {} : { fromMs: from }), ...(to === undefined ? {} : { beforeMs: to }) };
}

function describeBlobs(blobs: readonly DataBlob[], address: string): CommandResult {
  const rows = blobs.map(({ device, service, model, version, designation, folder, range, bytes }) =>
    [device ?? '', service, `${model}:${version}`, designation, folder, range?.rows ?? '?', bytesText(bytes)].map(
      String,
    ),
  );
  const documents = blobs.map(({ range, ...blob }) => ({
    ...blob,
    url: `${address}/${blob.name}`,
    rows: null,
    ...range,
  }));
  const json = { blobs: documents };
  if (blobs.length === 0) return { json, text: `No rows were collected yet in ${address}.` };
  return { json, text: table(['device', 'service', 'model', 'designation', 'folder', 'rows', 'size'], rows) };
}

function describePull(report: PullReport, out: string): CommandResult {
  const { inputs, predictions, labels, signals, joined, labelled, rows, blobs, bytes, missing, doubled, findings } =
    report;
  const text = fields({
    file: out,
    rows: `${rows} (${inputs} inputs, ${predictions} predictions, ${labels} labels, ${signals} signals)`,
    joined,
    labelled,
    superseded: report.superseded === 0 ? undefined : `${report.superseded} labels, by later ones`,
    blobs: `${blobs} (${bytesText(bytes)}${report.resumed === 0 ? '' : `, ${report.resumed} of them read before`})`,
    missing,
    doubled,
    findings: findings.length === 0 ? undefined : findings.join('\n'),
  });
  return { json: { ...report, file: out }, text };
}

/** Reads one part of a blob's path. */
function pathPart(text: string): string {
  if (text === '' || text.includes('/'))
    throw new InvalidArgumentError(`It is "${text}", a name without "/" was wanted.`);
  return text;
}

/** Reads a day or a moment, in UTC: the first moment of it, and the one after its last. */
function timeSpan(text: string): { readonly fromMs: number; readonly beforeMs: number } {
  const [, date, time = ''] = /^(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}(?::\d{2})?)Z?)?$/.exec(text) ?? [];
  const start = `${date}T${(time === '' ? '00:00' : time).padEnd(8, ':00')}.000Z`;
  const fromMs = Date.parse(start);
  // A date that does not exist, such as 30 February, is taken as another one by `Date`.
  if (Number.isNaN(fromMs) || new Date(fromMs).toISOString() !== start) {
    throw new InvalidArgumentError(
      `It is "${text}", a day or moment such as 2026-11-22 or 2026-11-22T09:30 was wanted.`,
    );
  }
  return { fromMs, beforeMs: time === '' ? fromMs + 86_400_000 : fromMs };
}
