import { type Command, Option } from 'commander';
import { FerryError } from '../../shared/errors.ts';
import { fields } from '../../shared/text-layout.ts';
import { addWork, type Session } from '../cli/session.ts';
import type { CommandResult } from '../cli/result.ts';
import { type KeyName, keyNames, newKey, readSecrets, type ServiceSecrets, signToken } from '../deploy/service-keys.ts';
import { getService, type ServiceRecord } from '../deploy/service-records.ts';
import { updateService } from '../deploy/services.ts';
import type { Workspace } from '../workspace/workspace.ts';
import { deployOptions } from './service-change.ts';

interface KeyFlags {
  readonly key: KeyName;
}

/** Adds the verbs of `ferry service keys`. */
export function addKeys(noun: Command): void {
  const keys = noun.command('keys').description('the two keys that callers of a service need one of');
  addWork(
    keys.command('show').description('print both').argument('<name>', 'the service'),
    async (session, _flags, [name = '']) => {
      const workspace = await session.openWorkspace();
      return keysText(await secretsOf(workspace, withKeys(getService(workspace.database, name))));
    },
  );

  const regenerate = withKey(keys.command('regenerate').description('make one anew; the other stays good'));
  addWork<KeyFlags>(regenerate.argument('<name>', 'the service'), (session, { key }, [name = '']) =>
    replaceKey(session, name, { [key]: newKey() }),
  );

  const set = withKey(keys.command('set').description('replace one by a key of your own'));
  set.argument('<name>', 'the service').argument('<value>', 'the key; "-" reads it from standard input');
  addWork<KeyFlags>(set, async (session, { key }, [name = '', value = '']) => {
    const { text } = await import('node:stream/consumers');
    return replaceKey(session, name, { [key]: value === '-' ? (await text(process.stdin)).trim() : value });
  });
}

/** Adds `ferry service token`. */
export function addToken(noun: Command): void {
  const token = noun.command('token').description('print a token to call a service with, good for 12 hours');
  addWork(token.argument('<name>', 'the service'), async (session, _flags, [name = '']) => {
    const workspace = await session.openWorkspace();
    const record = getService(workspace.database, name);
    const { authEnabled, tokenAuthEnabled } = record.settings;
    if (!authEnabled && !tokenAuthEnabled) throw openToAll(record);
    const signed = signToken(name, await secretsOf(workspace, record), Date.now());
    return { json: signed, text: signed.accessToken };
  });
}

function withKey(verb: Command): Command {
  return verb.addOption(new Option('--key <key>', 'which of the two').choices(keyNames).makeOptionMandatory());
}

async function replaceKey(
  session: Session,
  name: string,
  keys: Partial<Record<KeyName, string>>,
): Promise<CommandResult> {
  const workspace = await session.openWorkspace();
  withKeys(getService(workspace.database, name));
  const { record } = await updateService(workspace, name, { keys }, { ...deployOptions(session, {}), kind: 'keys' });
  return keysText(await secretsOf(workspace, record));
}

function keysText({ primary, secondary }: ServiceSecrets): CommandResult {
  return { json: { primaryKey: primary, secondaryKey: secondary }, text: fields({ primary, secondary }) };
}

/** @throws {FerryError} USAGE when the service asks its callers for no key */
function withKeys(record: ServiceRecord): ServiceRecord {
  if (record.settings.authEnabled && !record.settings.tokenAuthEnabled) return record;
  throw openToAll(record);
}

function openToAll({ name, settings }: ServiceRecord): FerryError {
  const found = settings.tokenAuthEnabled ? 'its callers need tokens' : 'anybody may call it';
  return new FerryError('USAGE', `Cannot use keys of the service "${name}": ${found}`, {
    next: settings.tokenAuthEnabled ? `ferry service token ${name}` : `ferry service update ${name} --auth`,
  });
}

async function secretsOf(workspace: Workspace, { name }: ServiceRecord): Promise<ServiceSecrets> {
  const secrets = await readSecrets(workspace, name);
  if (secrets !== undefined) return secrets;
  throw new FerryError('WORKSPACE_CORRUPT', `Cannot find the keys of the service "${name}": their file is gone`, {
    next: `Make new ones: ferry service update ${name}`,
  });
}
