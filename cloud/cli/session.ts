import { type Command, InvalidArgumentError } from 'commander';
import { FerryError, isFerryError } from '../../shared/errors.ts';
import { defaultName, Workspace } from '../workspace/workspace.ts';
import type { CommandResult } from './result.ts';

/** What every command has at hand. */
export interface Session {
  /** Whether `--json` was given. */
  readonly json: boolean;
  /** Aborted by SIGINT and SIGTERM; every wait of a command listens to it. */
  readonly signal: AbortSignal;
  /**
   * Opens the workspace that the command was called for; it is closed when the command ends. With `orCreate` it is made where there
   * is none: for what a new user may do first.
   */
  openWorkspace(options?: { readonly orCreate?: boolean }): Promise<Workspace>;
  /** Where `--workspace` or `FERRY_WORKSPACE` point to, else where the user stands. */
  readonly workspaceFolder: string;
  /** Writes one line of progress to standard error. */
  note(line: string): void;
}

/** Does a command's work and gives its result; nothing to print when it gives none. */
export type CommandWork<Options> = (
  session: Session,
  options: Options,
  args: readonly string[],
) => Promise<CommandResult | undefined>;

/** Gives a verb the options that every verb has and the work that it does. */
export function addWork<Options>(verb: Command, work: CommandWork<Options>): Command {
  return verb
    .option('--json', 'print one JSON document')
    .option('--workspace <folder>', 'the workspace to use (default: FERRY_WORKSPACE, or the nearest folder upwards)')
    .action(async () => {
      const { json, workspace, ...options } = verb.opts<{ json?: boolean; workspace?: string }>();
      await runWork({ json: json === true, workspace }, (session) => work(session, options as Options, verb.args));
    });
}

async function runWork(
  common: { readonly json: boolean; readonly workspace: string | undefined },
  work: (session: Session) => Promise<CommandResult | undefined>,
): Promise<void> {
  using workspaces = new DisposableStack();
  const interruption = new AbortController();
  const workspaceFolder = common.workspace ?? process.env['FERRY_WORKSPACE'] ?? process.cwd();
  const interrupt = (name: NodeJS.Signals): void =>
    interruption.abort(new FerryError('INTERRUPTED', `Cannot finish: it was interrupted by ${name}`));
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    const result = await work({
      json: common.json,
      signal: interruption.signal,
      workspaceFolder,
      openWorkspace: async ({ orCreate = false } = {}) =>
        workspaces.use(await (orCreate ? openOrCreate(workspaceFolder) : Workspace.open(workspaceFolder))),
      note: (line) => process.stderr.write(`${line}\n`),
    });
    if (result !== undefined) {
      process.stdout.write(common.json ? `${JSON.stringify(result.json, undefined, 2)}\n` : `${result.text}\n`);
      if (result.failure !== undefined) throw result.failure;
    }
  } finally {
    process.removeListener('SIGINT', interrupt);
    process.removeListener('SIGTERM', interrupt);
  }
}

async function openOrCreate(folder: string): Promise<Workspace> {
  try {
    return await Workspace.open(folder);
  } catch (error) {
    if (!isFerryError(error, 'WORKSPACE_NOT_FOUND')) throw error;
    const made = await Workspace.create(folder, { name: defaultName(folder) });
    process.stderr.write(`made the workspace ${made.folder}\n`);
    return made;
  }
}

/** Reads an option that may be given several times as `KEY=VALUE`; for `commander`'s option parser. */
export function collectPair(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  const [key, value] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  if (key === '') throw new InvalidArgumentError(`"${text}" has no key, KEY=VALUE was wanted.`);
  if (Object.hasOwn(before, key)) throw new InvalidArgumentError(`The key "${key}" was given twice.`);
  return { ...before, [key]: value };
}

/** Reads an option that is a whole number of at least one; for `commander`'s option parser. */
export function positiveInteger(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text))
    throw new InvalidArgumentError(`It is "${text}", a whole number from 1 was wanted.`);
  return Number(text);
}
