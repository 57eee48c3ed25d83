import { type Command, InvalidArgumentError } from 'commander';
import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import { parseVersionedName } from '../../shared/model/name.ts';
import { FerryError, isFerryError, systemCodeOf } from '../../shared/errors.ts';
import { fields, table } from '../../shared/text-layout.ts';
import { pairsText } from '../cli/result.ts';
import { addWork, positiveInteger, type Session } from '../cli/session.ts';
import { checkAnswer } from '../deploy/check-answer.ts';
import { openDeployer } from '../deploy/deployers.ts';
import { scoreService } from '../deploy/score-service.ts';
import { credentialFor } from '../deploy/service-call.ts';
import { readSecrets } from '../deploy/service-keys.ts';
import { getService, listServices, type ServiceRecord } from '../deploy/service-records.ts';
import type { ServiceStatus } from '../deploy/service-state.ts';
import { observeService, removeService } from '../deploy/services.ts';
import { sampleOf } from '../deploy/smoke-test.ts';
import type { TargetReference } from '../deploy/target.ts';
import { targetText } from '../deploy/target.ts';
import { waitForService } from '../deploy/wait-for-service.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { addLabelFilters, type ListOptions } from './label-options.ts';
import { addCreate, addScale, addUpdate, deployOptions } from './service-change.ts';
import { addWaitFlags, readTarget, type WaitFlags } from './service-flags.ts';
import { addImport } from './service-import.ts';
import { addKeys, addToken } from './service-keys.ts';
import { addLogs, addOperations } from './service-logs.ts';
import { describeService, serviceDocument } from './service-text.ts';

interface ListFlags extends Pick<ListOptions, 'tag' | 'property'> {
  readonly model?: string;
  readonly image?: string;
  readonly digest?: string;
  readonly target?: TargetReference;
}

interface RunFlags {
  readonly input?: string;
  readonly address?: string;
  readonly key?: string;
  readonly timeout: number;
}

/** Adds the verbs of `ferry service`. */
export function addServiceVerbs(noun: Command): void {
  addCreate(noun);
  addUpdate(noun);
  addScale(noun);
  addList(noun);
  addShow(noun);
  addRun(noun);
  addKeys(noun);
  addToken(noun);
  addLogs(noun);
  addOperations(noun);
  addImport(noun);
  addDelete(noun);
}

function addList(noun: Command): void {
  const list = addLabelFilters(noun.command('list').description('list services with their states'))
    .option('--model <model>', 'only those that serve this model, NAME or NAME:VERSION')
    .option('--image <image>', 'only those of this image, NAME or NAME:VERSION')
    .option('--digest <digest>', 'only those of the image of this digest')
    .option('--target <target>', 'only those on this target: aks, aks/prod', readTarget);
  addWork<ListFlags>(list, async (session, { model, image, digest, target, tag, property }) => {
    const workspace = await session.openWorkspace();
    const records = listServices(workspace.database, {
      ...(model !== undefined && { model: parseVersionedName(model) }),
      ...(image !== undefined && { image: parseVersionedName(image) }),
      ...(digest !== undefined && { digest }),
      ...(target !== undefined && { target }),
      ...(tag !== undefined && { tags: tag }),
      ...(property !== undefined && { properties: property }),
    });
    if (records.length === 0) return { json: [], text: 'There is no such service.' };
    const seen: [ServiceRecord, ServiceStatus][] = [];
    for (const record of records) seen.push([record, await statusOf(workspace, record, session.signal)]);
    return {
      json: seen.map(([record, status]) => serviceDocument(record, status)),
      text: table(
        ['service', 'target', 'image', 'state', 'address', 'tags'],
        seen.map(([{ name, target, image, tags }, { state, address = '' }]) => [
          name,
          targetText(target),
          `${image.name}:${image.version}`,
          state,
          address,
          pairsText(tags),
        ]),
      ),
    };
  });
}

function addShow(noun: Command): void {
  const show = addWaitFlags(noun.command('show').description('show a service and its state wherever it runs'));
  addWork<WaitFlags>(show.argument('<name>', 'the service'), async (session, flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const record = getService(workspace.database, name);
    await using deployer = await openDeployer(workspace, record.target, session.signal);
    const observe = (): Promise<ServiceStatus> => deployer.observe(record);
    const timeoutMs = flags.timeout * 1000;
    const { signal } = session;
    const note = (line: string): void => session.note(line);
    return describeService(
      record,
      await (flags.wait ? waitForService({ name, timeoutMs, signal, observe, note }) : observe()),
    );
  });
}

function addRun(noun: Command): void {
  const run = noun
    .command('run')
    .description('score rows on a service, or test it with the sample of its model')
    .argument('<name>', 'the service')
    .option(
      '--input <file>',
      'a JSON file that is sent as it is, such as {"data": [[…], …]}; "-" for standard input (default: the sample that the model was registered with, whose answer is then compared)',
    )
    .option('--address <url>', 'where the service answers (default: what its target says)', url)
    .option('--key <key>', "key or token to call it with (default: the service's)")
    .option('--timeout <seconds>', 'how long it may take', positiveInteger, 60);
  addWork<RunFlags>(run, async (session, { input, address, key, timeout }, [name = '']) => {
    const workspace = await session.openWorkspace();
    const record = getService(workspace.database, name);
    const sample = input === undefined ? sampleOf(workspace.database, record) : undefined;
    const result = await scoreService({
      service: name,
      input: input === undefined ? JSON.stringify(sample?.input) : await readInput(input),
      address: address ?? (await addressOf(workspace, record, session)),
      ...credentialFor(record, await readSecrets(workspace, name)),
      ...(key !== undefined && { credential: key }),
      timeoutMs: timeout * 1000,
      signal: session.signal,
      ...(record.target.kind === 'iotedge' &&
        address === undefined && {
          next: 'Where the device is another machine, give --address http://<device>:<port>; the port must not be bound to 127.0.0.1 then.',
        }),
    });
    if (sample?.output) checkAnswer(name, { expected: sample.output, answer: result });
    return { json: result, text: JSON.stringify(result) };
  });
}

function addDelete(noun: Command): void {
  const remove = noun
    .command('delete')
    .description('delete a service and all that was made for it')
    .argument('<name>', 'the service');
  addWork(remove, async (session, _flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const { removed } = await removeService(workspace, name, deployOptions(session, {}));
    return {
      json: { name, removed },
      text: fields({ deleted: name, removed: removed.join('\n') || 'nothing was left' }),
    };
  });
}

/** One target that cannot be asked must not hide the services on all others. */
async function statusOf(workspace: Workspace, record: ServiceRecord, signal: AbortSignal): Promise<ServiceStatus> {
  try {
    return await observeService(workspace, record, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!isFerryError(error)) throw error;
    return { state: 'Unhealthy', reason: `its target cannot be asked: ${error.message}`, instances: [] };
  }
}

async function addressOf(workspace: Workspace, record: ServiceRecord, session: Session): Promise<string> {
  const { address, ...state } = await observeService(workspace, record, session.signal);
  if (address !== undefined) return address;
  const { name } = record;
  throw new FerryError(
    'SCORING_FAILED',
    `Cannot score on the service "${name}": it has no address yet, it is ${state.state}`,
    {
      next: `Wait for it: ferry service show ${name} --wait`,
    },
  );
}

async function readInput(path: string): Promise<string> {
  const input = await (path === '-' ? textOf(process.stdin) : readFile(path, 'utf8')).catch((cause: unknown) => {
    const code = systemCodeOf(cause) ?? 'it cannot be read';
    throw new FerryError(code === 'ENOENT' ? 'FILE_NOT_FOUND' : 'FILE_UNREADABLE', `Cannot read "${path}": ${code}`, {
      cause,
    });
  });
  try {
    JSON.parse(input);
    return input;
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot score "${path}": it is no JSON`, { cause });
  }
}

function url(text: string): string {
  const parsed = URL.parse(text);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    throw new InvalidArgumentError(`It is "${text}", an address such as http://gw-1:5001 was wanted.`);
  }
  return text;
}
