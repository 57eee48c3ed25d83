import { type Command, InvalidArgumentError } from 'commander';
import { addWork, collectPair, type Session } from '../cli/session.ts';
import type { DeployOptions } from '../deploy/deployer.ts';
import { createService, planService, type ServiceOptions, updateService } from '../deploy/services.ts';
import { targetKinds, type TargetReference } from '../deploy/target.ts';
import type { LabelChange } from '../models/labels.ts';
import { addUpdateOptions, labelChange, type UpdateOptions } from './label-options.ts';
import { planText } from './plan-text.ts';
import { addSettingFlags, addWaitFlags, givenSettings, readTarget, type WaitFlags } from './service-flags.ts';
import { describeService } from './service-text.ts';

interface CommonFlags extends WaitFlags, Readonly<Record<string, unknown>> {
  readonly replace?: boolean;
  readonly primaryKey?: string;
  readonly secondaryKey?: string;
}

interface CreateFlags extends CommonFlags {
  readonly image: string;
  readonly target: TargetReference;
  readonly tag?: Record<string, string>;
  readonly property?: Record<string, string>;
  readonly description?: string;
  readonly dryRun?: boolean;
}

interface UpdateFlags extends CommonFlags, UpdateOptions {
  readonly image?: string;
}

/** Adds `ferry service create`. */
export function addCreate(noun: Command): void {
  const create = noun
    .command('create')
    .description('deploy an image as a service')
    .argument('<name>', 'name of the service')
    .requiredOption('--image <image>', 'NAME or NAME:VERSION; without a version the latest one')
    .requiredOption(
      '--target <target>',
      `what it runs on: ${targetKinds.join(', ')}, with the name of a compute where there are several: aks/prod`,
      readTarget,
    )
    .option('--tag <key=value>', 'a tag of the service, may be given several times', collectPair)
    .option('--property <key=value>', 'a property, which stays for good, may be given several times', collectPair)
    .option('--description <text>', 'what it is')
    .option('--dry-run', 'say what would be done, and print what would be sent');
  addWork<CreateFlags>(addCommonFlags(create), async (session, flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const { image, target, tag: tags, property: properties, description } = flags;
    const request = {
      name,
      image,
      target,
      settings: givenSettings(flags),
      keys: keysOf(flags),
      ...(tags && { tags }),
      ...(properties && { properties }),
      ...(description !== undefined && { description }),
    };
    if (flags.dryRun) return planText(await planService(workspace, request, deployOptions(session, flags)));
    const { record, status } = await createService(workspace, request, serviceOptions(session, flags));
    return describeService(record, status);
  });
}

/** Adds `ferry service update`. */
export function addUpdate(noun: Command): void {
  const update = noun
    .command('update')
    .description('change the image, any setting, keys or labels of a service; what is not named stays')
    .argument('<name>', 'the service')
    .option('--image <image>', 'NAME or NAME:VERSION; without a version the latest one');
  addWork<UpdateFlags>(addCommonFlags(addUpdateOptions(update)), async (session, flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const change = {
      ...(flags.image !== undefined && { image: flags.image }),
      settings: givenSettings(flags),
      keys: keysOf(flags),
      labels: labelsOf(flags),
    };
    const { record, status } = await updateService(workspace, name, change, serviceOptions(session, flags));
    return describeService(record, status);
  });
}

/** Adds `ferry service scale`. */
export function addScale(noun: Command): void {
  const scale = noun
    .command('scale')
    .description('say how many replicas a service has, or between how many it scales by load')
    .argument('<name>', 'the service')
    .argument('<replicas>', 'a number, or least and most with "-" between: 2-8', readReplicas);
  addWork<WaitFlags>(addWaitFlags(scale), async (session, flags, [name = '', replicas = '']) => {
    const workspace = await session.openWorkspace();
    const [least = 1, most] = readReplicas(replicas);
    const settings =
      most === undefined
        ? { numReplicas: least }
        : { autoscaleEnabled: true, autoscaleMinReplicas: least, autoscaleMaxReplicas: most };
    const options: ServiceOptions = { ...serviceOptions(session, flags), kind: 'scale' };
    const { record, status } = await updateService(workspace, name, { settings }, options);
    return describeService(record, status);
  });
}

/** Gives how a verb deploys: what it may replace, where it tells what it does, and what ends it. */
export function deployOptions(session: Session, { replace = false }: { readonly replace?: boolean }): DeployOptions {
  return { replace, note: (line) => session.note(line), signal: session.signal };
}

function serviceOptions(session: Session, flags: WaitFlags & { readonly replace?: boolean }): ServiceOptions {
  return {
    ...deployOptions(session, flags),
    ...(flags.wait && { wait: { timeoutMs: flags.timeout * 1000, smokeTest: false } }),
  };
}

function addCommonFlags(verb: Command): Command {
  return addSettingFlags(
    addWaitFlags(verb)
      .option('--primary-key <key>', 'a key of your own (default: one is made)')
      .option('--secondary-key <key>', 'the second one, so that one is good while the other is renewed')
      .option('--replace', 'let modules go that devices run by another deployment, which this one takes the place of'),
  );
}

function keysOf({ primaryKey, secondaryKey }: CommonFlags): { primary?: string; secondary?: string } {
  return {
    ...(primaryKey !== undefined && { primary: primaryKey }),
    ...(secondaryKey !== undefined && { secondary: secondaryKey }),
  };
}

function labelsOf(flags: UpdateOptions): LabelChange {
  const { tag, addTag, removeTag, addProperty, description } = flags;
  const isAny = [tag, addTag, removeTag, addProperty, description].some((value) => value !== undefined);
  return isAny ? labelChange(flags) : {};
}

function readReplicas(text: string): readonly number[] {
  const [, least, most] = /^([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?$/.exec(text) ?? [];
  if (least === undefined) throw new InvalidArgumentError(`It is "${text}", a number such as 3, or 2-8, was wanted.`);
  return most === undefined ? [Number(least)] : [Number(least), Number(most)];
}
