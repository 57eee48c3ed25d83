import { type Command, InvalidArgumentError } from 'commander';
import { fields } from '../../shared/text-layout.ts';
import type { CommandResult } from '../cli/result.ts';
import { addWork, collectPair, positiveInteger } from '../cli/session.ts';
import { type PushOutcome, pushService } from '../deploy/push.ts';
import { targetKinds, type TargetReference } from '../deploy/target.ts';
import { deployOptions } from './service-change.ts';
import { addSettingFlags, givenSettings, readTarget } from './service-flags.ts';
import { serviceDocument } from './service-text.ts';

interface PushFlags extends Readonly<Record<string, unknown>> {
  readonly name: string;
  readonly service?: string;
  readonly to: TargetReference;
  readonly sample?: string;
  readonly script?: string;
  readonly platform?: string;
  readonly timeout: number;
  readonly tag?: Record<string, string>;
  readonly replace?: boolean;
}

/** Makes `ferry push` bring a model file to a running service. */
export function addPush(verb: Command): void {
  const push = verb
    .argument('<path>', 'the ONNX file, or a folder with one')
    .requiredOption('--name <name>', "the model's name")
    .requiredOption('--to <target>', `where to: ${targetKinds.join(', ')}, or with a compute: aks/prod`, readTarget)
    .option('--service <name>', "the service's name (default: the model's)")
    .option(
      '--sample <file>',
      'a JSON file with a request; every new replica has to answer it before callers get to it',
    )
    .option('--script <file>', 'TypeScript or JavaScript that exports run() and init()')
    .option(
      '--platform <platforms>',
      "linux/amd64, linux/arm64, or both with a comma (default: this machine's)",
      platforms,
    )
    .option('--tag <key=value>', 'a tag of model and service, may be given several times', collectPair)
    .option('--timeout <seconds>', 'how long it may take until it is Healthy', positiveInteger, 120)
    .option('--replace', 'let modules go that devices run by another deployment');
  addWork<PushFlags>(addSettingFlags(push), async (session, flags, [path = '']) => {
    const workspace = await session.openWorkspace({ orCreate: flags.to.kind === 'local' });
    const { name, service = name, to: target, sample, script, platform, tag: tags } = flags;
    const outcome = await pushService(
      workspace,
      {
        name: service,
        target,
        models: [{ path, name, ...(sample !== undefined && { sample }), ...(tags && { tags }) }],
        build: { ...(script !== undefined && { script }), ...(platform !== undefined && { platform }) },
        settings: givenSettings(flags),
        isWhole: false,
        ...(tags && { tags }),
      },
      { ...deployOptions(session, flags), wait: { timeoutMs: flags.timeout * 1000, smokeTest: true } },
    );
    return pushText(outcome);
  });
}

/** Describes what came of a push. */
export function pushText({ record, status, changed, image, registered }: PushOutcome): CommandResult {
  const { image: imageId, ...service } = serviceDocument(record, status);
  return {
    json: { changed, registered, models: image.models, image: imageId, service },
    text: fields({
      service: record.name,
      state: status.state,
      models: image.models.join(', '),
      image: imageId,
      address: status.address,
      done: changed ? 'deployed' : 'nothing to do, all is so already',
    }),
  };
}

function platforms(text: string): string {
  if (text.split(',').every((platform) => /^linux\/\w+$/.test(platform.trim()))) return text;
  throw new InvalidArgumentError(`It is "${text}", linux/amd64 or linux/arm64 was wanted.`);
}
