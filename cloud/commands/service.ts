import { type Command, InvalidArgumentError, Option } from 'commander';
import { readFile } from 'node:fs/promises';
import { text as textOf } from 'node:stream/consumers';
import { FerryError, systemCodeOf } from '../../shared/errors.ts';
import { HubClient } from '../azure/hub-client.ts';
import { type CommandResult, pairsText } from '../cli/result.ts';
import { fields, table } from '../../shared/text-layout.ts';
import { addWork, collectPair, positiveInteger, type Session } from '../cli/session.ts';
import { createEdgeService, deleteEdgeService, observeEdgeService } from '../deploy/iotedge.ts';
import { scoreService, scoringAddressOf } from '../deploy/score-service.ts';
import { getService, listServices, type ServiceRecord } from '../deploy/service-records.ts';
import type { EdgeServiceState } from '../deploy/service-state.ts';
import { checkAnswer, sampleOf } from '../deploy/smoke-test.ts';
import { describeState, waitForService } from '../deploy/wait-for-service.ts';

interface WaitFlags {
  readonly wait?: boolean;
  /** Seconds. */
  readonly timeout: number;
}

interface CreateFlags extends WaitFlags {
  readonly image: string;
  readonly deviceTag?: Record<string, string>;
  readonly targetCondition?: string;
  readonly priority: number;
  readonly port: number;
  readonly hostAddress: string;
  readonly collect?: boolean;
  readonly env?: Record<string, string>;
  readonly memoryMb?: number;
  readonly tag?: Record<string, string>;
  readonly description?: string;
  readonly replace?: boolean;
}

interface RunFlags {
  readonly input?: string;
  readonly address?: string;
  readonly timeout: number;
}

/** Adds the verbs of `ferry service`. */
export function addServiceVerbs(noun: Command): void {
  addCreate(noun);

  addWork(noun.command('list').description('list all services with their states'), async (session) => {
    const workspace = await session.openWorkspace();
    const records = listServices(workspace.database);
    if (records.length === 0) return { json: [], text: 'The workspace has no service yet.' };
    using hub = await HubClient.open(workspace, session.signal);
    const documents: ServiceDocument[] = [];
    for (const record of records) documents.push(documentOf(record, await observeEdgeService(hub, record)));
    const rows = documents.map(({ name, target, image, state, scoringAddress }) => [
      name,
      target,
      image,
      state,
      scoringAddress,
    ]);
    return { json: documents, text: table(['service', 'target', 'image', 'state', 'address'], rows) };
  });

  const show = addWaitFlags(noun.command('show').description('show a service and its state on every device'));
  addWork<WaitFlags>(show.argument('<name>', 'the service'), async (session, flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const record = getService(workspace.database, name);
    using hub = await HubClient.open(workspace, session.signal);
    return describe(
      record,
      await (flags.wait ? wait(session, { hub, record, flags }) : observeEdgeService(hub, record)),
    );
  });

  const run = noun
    .command('run')
    .description('score rows on a service, or test it with the sample of its model')
    .argument('<name>', 'the service')
    .option(
      '--input <file>',
      'a JSON file that is sent as it is, such as {"data": [[…], …]}; "-" for standard input (default: the sample that the model was registered with, whose answer is then compared)',
    )
    .option(
      '--address <url>',
      'where the service answers (default: the address of its port, on this machine where that is open)',
      url,
    )
    .option('--timeout <seconds>', 'how long it may take', positiveInteger, 60);
  addWork<RunFlags>(run, async (session, { input, address, timeout }, [name = '']) => {
    const workspace = await session.openWorkspace();
    const record = getService(workspace.database, name);
    const sample = input === undefined ? sampleOf(workspace.database, record) : undefined;
    const result = await scoreService(record, {
      input: input === undefined ? JSON.stringify(sample?.input) : await readInput(input),
      ...(address === undefined ? {} : { address }),
      timeoutMs: timeout * 1000,
      signal: session.signal,
    });
    if (sample?.output) checkAnswer(record, { expected: sample.output, answer: result });
    return { json: result, text: JSON.stringify(result) };
  });

  const remove = noun
    .command('delete')
    .description('delete a service, its deployment and its module')
    .argument('<name>', 'the service');
  addWork(remove, async (session, _flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const record = getService(workspace.database, name);
    using hub = await HubClient.open(workspace, session.signal);
    const devices = await deleteEdgeService({ workspace, hub }, record);
    const { id } = record.deployment;
    return {
      json: { name, deployment: id, devices },
      text: fields({ deleted: name, deployment: id, 'module taken from': devices.join(', ') || 'no device' }),
    };
  });
}

function addCreate(noun: Command): void {
  const create = noun
    .command('create')
    .description('deploy an image to all devices that a condition holds for')
    .argument('<name>', 'name of the service and of its module')
    .requiredOption('--image <image>', 'NAME or NAME:VERSION; without a version the latest one')
    .addOption(new Option('--target <target>', 'what it runs on').choices(['iotedge']).makeOptionMandatory())
    .option('--device-tag <key=value>', 'a tag that devices must have, may be given several times', collectPair)
    .option(
      '--target-condition <condition>',
      "the condition in the hub's own words, instead of tags; * for all devices",
    )
    .option('--priority <number>', 'the deployment of the highest priority wins on a device', wholeNumber, 10)
    .option('--port <port>', 'port of the device that it answers on', positiveInteger, 5001)
    .option('--host-address <ip>', 'address of the device that the port is bound to; 0.0.0.0 for all', '127.0.0.1')
    .option('--collect', 'collect inputs and predictions')
    .option('--env <key=value>', 'a variable of its environment, may be given several times', collectPair)
    .option('--memory-mb <number>', 'most memory that it may use (default: no limit)', positiveInteger)
    .option('--tag <key=value>', 'a tag of the service, may be given several times', collectPair)
    .option('--description <text>', 'what it is')
    .option('--replace', 'let modules go that devices run by another deployment, which this one takes the place of');
  addWork<CreateFlags>(addWaitFlags(create), async (session, flags, [name = '']) => {
    const { image, priority, port, hostAddress, collect = false, replace = false, ...rest } = flags;
    const workspace = await session.openWorkspace();
    using hub = await HubClient.open(workspace, session.signal);
    const request = {
      name,
      image,
      priority,
      port,
      hostAddress,
      collect,
      ...(rest.deviceTag === undefined ? {} : { deviceTags: rest.deviceTag }),
      ...(rest.targetCondition === undefined ? {} : { targetCondition: rest.targetCondition }),
      ...(rest.env === undefined ? {} : { env: rest.env }),
      ...(rest.memoryMb === undefined ? {} : { memoryMb: rest.memoryMb }),
      ...(rest.tag === undefined ? {} : { tags: rest.tag }),
      ...(rest.description === undefined ? {} : { description: rest.description }),
    };
    const record = await createEdgeService({ workspace, hub }, request, {
      replace,
      note: (line) => session.note(line),
      signal: session.signal,
    });
    return describe(
      record,
      await (flags.wait ? wait(session, { hub, record, flags }) : observeEdgeService(hub, record)),
    );
  });
}

function addWaitFlags(verb: Command): Command {
  return verb
    .option('--wait', 'wait until it is Healthy; the first failure of a device ends that')
    .option('--timeout <seconds>', 'how long to wait', positiveInteger, 120);
}

function wait(
  session: Session,
  { hub, record, flags }: { readonly hub: HubClient; readonly record: ServiceRecord; readonly flags: WaitFlags },
): Promise<EdgeServiceState> {
  return waitForService({
    name: record.name,
    timeoutMs: flags.timeout * 1000,
    signal: session.signal,
    observe: () => observeEdgeService(hub, record),
    note: (line) => session.note(line),
  });
}

type ServiceDocument = ReturnType<typeof documentOf>;

function documentOf(record: ServiceRecord, seen: EdgeServiceState) {
  const { image, deployment, settings, ...rest } = record;
  return {
    ...rest,
    image: `${image.name}:${image.version}`,
    imageDigest: image.digest,
    state: seen.state,
    ...(seen.reason === undefined ? {} : { reason: seen.reason }),
    scoringAddress: scoringAddressOf(record),
    deployment: { ...deployment, targetCondition: settings.targetCondition, priority: settings.priority },
    settings,
    devices: seen.devices,
  };
}

function describe(record: ServiceRecord, seen: EdgeServiceState): CommandResult {
  const { name, target, image, settings, deployment, description, tags, createdAt } = record;
  return {
    json: documentOf(record, seen),
    text: fields({
      service: name,
      state: describeState(seen),
      target,
      image: `${image.name}:${image.version}`,
      'image digest': image.digest,
      address: scoringAddressOf(record),
      collection: settings.collect ? 'on' : 'off',
      deployment: deployment.id,
      devices: settings.targetCondition,
      priority: settings.priority,
      description: description || undefined,
      tags: pairsText(tags) || undefined,
      created: createdAt,
      on: seen.devices.map((device) => `${device.deviceId}: ${describeState(device)}`).join('\n') || undefined,
    }),
  };
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

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`It is "${text}", a whole number from 0 was wanted.`);
  return Number(text);
}
