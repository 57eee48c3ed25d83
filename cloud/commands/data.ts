import type { Command } from 'commander';
import { FerryError } from '../../shared/errors.ts';
import { bytesText } from '../../shared/text-layout.ts';
import { modelNameProblem, parseVersionedName } from '../../shared/model/name.ts';
import { DataContainer } from '../azure/data-container.ts';
import { HubClient } from '../azure/hub-client.ts';
import { startProgress } from '../cli/progress.ts';
import { addWork } from '../cli/session.ts';
import { findBlobs } from '../data/find-blobs.ts';
import { labelRows } from '../data/label.ts';
import { pullData } from '../data/pull.ts';
import { dataStatus } from '../data/status.ts';
import { verifyData } from '../data/verify.ts';
import { getService } from '../deploy/service-records.ts';
import { findImage } from '../images/image.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { addFilter, type FilterFlags, filterOf, pathPart } from './data-filter.ts';
import { describeBlobs, describeLabels, describePull, describeStatus, describeVerification } from './data-text.ts';

interface PullFlags extends FilterFlags {
  readonly out: string;
  readonly skipDamaged?: boolean;
}

interface VerifyFlags extends FilterFlags {
  readonly metadataOnly?: boolean;
}

interface LabelFlags {
  readonly service: string;
  readonly model?: string;
}

/** Adds the verbs of `ferry data`. */
export function addDataVerbs(noun: Command): void {
  addList(noun);
  addPull(noun);
  addStatus(noun);
  addVerify(noun);
  addLabel(noun);
}

function addList(noun: Command): void {
  const list = noun.command('list').description('list the blobs of collected rows');
  addWork<FilterFlags>(addFilter(withService(list)), async (session, flags) => {
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    const { scope } = workspace;
    const { selected } = await findBlobs(container, { scope, filter: filterOf(flags), signal: session.signal });
    return describeBlobs(selected, container.address);
  });
}

function addPull(noun: Command): void {
  const pull = noun
    .command('pull')
    .description('join inputs, predictions and labels of every row into one file; cut short, the same call goes on')
    .requiredOption('--service <name>', 'the service whose rows to pull', pathPart)
    .requiredOption('--out <file>', 'the file to write, CSV or *.parquet; one that is there is replaced')
    .option('--skip-damaged', 'leave blobs out that contradict themselves or another one, instead of failing');
  addWork<PullFlags>(addFilter(pull), async (session, { out, skipDamaged = false, ...flags }) => {
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

function addStatus(noun: Command): void {
  const status = noun
    .command('status')
    .description('show what became of collected rows: what devices report, beside what storage holds');
  addWork<FilterFlags>(addFilter(withService(status)), async (session, flags) => {
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    const { signal } = session;
    const { hubConnectionString } = await workspace.secrets();
    // A workspace of services in the cloud alone has no hub.
    using hub = hubConnectionString === undefined ? undefined : await HubClient.open(workspace, signal);
    const twins = (await hub?.listEdgeAgents()) ?? [];
    const streams = await dataStatus(container, { scope: workspace.scope, filter: filterOf(flags), twins, signal });
    return describeStatus(streams, container.address);
  });
}

function addVerify(noun: Command): void {
  const verify = noun
    .command('verify')
    .description('prove from storage alone that no row is missing or there twice; fails where one is')
    .option('--metadata-only', 'go by what blobs say of themselves, without reading them');
  addWork<VerifyFlags>(addFilter(withService(verify)), async (session, { metadataOnly = false, ...flags }) => {
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    using progress = startProgress('verify', { format: bytesText });
    const report = await verifyData(container, {
      scope: workspace.scope,
      filter: filterOf(flags),
      content: !metadataOnly,
      signal: session.signal,
      onProgress: progress.update.bind(progress),
    });
    return describeVerification(report, container.address);
  });
}

function addLabel(noun: Command): void {
  const label = noun
    .command('label')
    .description('put what came true beside the rows of a service, in storage: no device has to be reached')
    .argument('<file>', 'CSV with a column "correlation_id", and one for each label')
    .requiredOption('--service <name>', 'the service that scored the rows', pathPart)
    .option(
      '--model <model>',
      'the model that scored them, NAME or NAME:VERSION (default: the only one of the service)',
    );
  addWork<LabelFlags>(label, async (session, { service, model }, [file = '']) => {
    const workspace = await session.openWorkspace();
    const container = await DataContainer.open(workspace);
    using progress = startProgress('label', { format: (rows) => `${rows} rows` });
    const report = await labelRows(container, {
      scope: workspace.scope,
      service,
      ...labelledModel(workspace, service, model),
      file,
      nowMs: Date.now(),
      signal: session.signal,
      onProgress: (rows) => progress.update(rows, rows),
    });
    return describeLabels(report, { file, service });
  });
}

function withService(verb: Command): Command {
  return verb.option('--service <name>', 'only of this service', pathPart);
}

/** Finds the model that labels are for. Its version only names the folder: labels hold for every version that scored the row. */
function labelledModel(
  workspace: Workspace,
  service: string,
  wanted: string | undefined,
): { readonly model: string; readonly version: number } {
  if (wanted !== undefined) {
    const { name, version = 1 } = parseVersionedName(wanted);
    const problem = modelNameProblem(name);
    if (problem !== undefined) throw new FerryError('NAME_INVALID', `Cannot label rows of "${wanted}": ${problem}`);
    return { model: name, version };
  }
  const { image } = getService(workspace.database, service);
  const [only, ...more] = findImage(workspace.database, image).models;
  if (only !== undefined && more.length === 0) {
    const { name, version = 1 } = parseVersionedName(only);
    return { model: name, version };
  }
  throw new FerryError('USAGE', `Cannot label rows of the service "${service}": it has several models`, {
    next: 'Name the one that scored the rows with --model.',
  });
}
