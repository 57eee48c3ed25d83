import { type Command, InvalidArgumentError, Option } from 'commander';
import { startProgress } from '../cli/progress.ts';
import { bytesText, type CommandResult, fields, table } from '../cli/result.ts';
import { addWork, positiveInteger } from '../cli/session.ts';
import { DataContainer } from '../azure/data-container.ts';
import { type DataFilter, designations } from '../data/blob-path.ts';
import { type DataBlob, findBlobs } from '../data/find-blobs.ts';
import { type PullReport, pullData } from '../data/pull.ts';

interface PullCommandOptions extends DataFilter {
  readonly out: string;
  readonly skipDamaged?: boolean;
}

/** Adds the verbs of `ferry data`. */
export function addDataVerbs(noun: Command): void {
  const list = noun.command('list').description('list the blobs of collected rows');
  list.option('--service <name>', 'only of this service', pathPart);
  addWork<DataFilter>(addFilter(list), async (session, filter) => {
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    const { selected } = await findBlobs(container, { scope: workspace.scope, filter, signal: session.signal });
    return describeBlobs(selected, container.address);
  });

  const pull = noun
    .command('pull')
    .description('join inputs, predictions and labels of every row into one CSV file')
    .requiredOption('--service <name>', 'the service whose rows to pull', pathPart)
    .requiredOption('--out <file>', 'the file to write; one that is there is replaced')
    .option('--skip-damaged', 'leave blobs out that contradict themselves or another one, instead of failing');
  addWork<PullCommandOptions>(addFilter(pull), async (session, { out, skipDamaged = false, ...filter }) => {
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    using progress = startProgress('pull', { format: bytesText });
    const { scope } = workspace;
    const onProgress = progress.update.bind(progress);
    const report = await pullData(container, { scope, filter, out, skipDamaged, signal: session.signal, onProgress });
    return describePull(report, out);
  });
}

function addFilter(verb: Command): Command {
  return verb
    .option('--model <name>', 'only of this model', pathPart)
    .option('--version <number>', 'only of this version of the model', positiveInteger)
    .addOption(new Option('--designation <name>', 'only rows of this kind').choices(designations))
    .option('--from <date>', 'first day, in UTC: 2026-11-01', day)
    .option('--to <date>', 'last day, included', day);
}

function describeBlobs(blobs: readonly DataBlob[], address: string): CommandResult {
  const rows = blobs.map(({ device, service, model, version, designation, date, range, bytes }) =>
    [device ?? '', service, `${model}:${version}`, designation, date, range?.rows ?? '?', bytesText(bytes)].map(String),
  );
  const documents = blobs.map(({ range, ...blob }) => ({
    ...blob,
    url: `${address}/${blob.name}`,
    rows: null,
    ...range,
  }));
  const json = { blobs: documents };
  if (blobs.length === 0) return { json, text: `No rows were collected yet in ${address}.` };
  return { json, text: table(['device', 'service', 'model', 'designation', 'day', 'rows', 'size'], rows) };
}

function describePull(report: PullReport, out: string): CommandResult {
  const { inputs, predictions, labels, signals, joined, rows, blobs, bytes, missing, doubled, findings } = report;
  const text = fields({
    file: out,
    rows: `${rows} (${inputs} inputs, ${predictions} predictions, ${labels} labels, ${signals} signals)`,
    joined,
    blobs: `${blobs} (${bytesText(bytes)})`,
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

function day(text: string): string {
  const time = Date.parse(`${text}T00:00:00Z`);
  // A date that does not exist, such as 30 February, is taken as another one by `Date`.
  const exists = /^\d{4}-\d{2}-\d{2}$/.test(text) && new Date(time || 0).toISOString().startsWith(text);
  if (!exists) throw new InvalidArgumentError(`It is "${text}", a day such as 2026-11-22 was wanted.`);
  return text;
}
