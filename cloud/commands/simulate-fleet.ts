import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { type Command, InvalidArgumentError } from 'commander';
import { FerryError } from '../../shared/errors.ts';
import { findProgram } from '../../shared/programs.ts';
import { addWork, positiveInteger } from '../cli/session.ts';
import { failureOf, fleetReportSchema, fleetText } from './fleet-report-text.ts';

interface FleetFlags {
  readonly devices: number;
  readonly seed: number;
  readonly real?: number;
  readonly virtual?: boolean;
  readonly slowLinks?: boolean;
  readonly days?: number;
  readonly minutes?: number;
  readonly deployments: number;
  readonly failing: number;
  readonly outage?: number;
  readonly s1Units?: number;
}

/** How long the simulators may take to end when they are told to, in milliseconds. */
const endTimeoutMs = 10_000;

/** How long a fleet lives when nobody says so, in minutes: a day when time is only counted, else as long as somebody may wait. */
const minutesByDefault = { virtual: 24 * 60, real: 5 } as const;

/** Adds `ferry simulate fleet`. */
export function addFleet(noun: Command): void {
  const verb = noun
    .command('fleet')
    .description("let many devices without hardware run the agent's code, deploy to them, and report how that went")
    .option('--devices <count>', 'how many light ones', positiveInteger, 100)
    .option(
      '--seed <seed>',
      'of all that is left to chance: with --virtual the same seed gives the same report',
      seed,
      1,
    )
    .option('--virtual', 'count time instead of waiting for it, with a hub that lives in the same time')
    .option('--slow-links', 'links of light ones come and go, or have 600 or 100 ms, a third each, as with --virtual')
    .option('--real <count>', 'real agents beside them, as processes of this machine', positiveInteger)
    .option('--days <days>', 'how long, by the clock of the fleet (default with --virtual: 1)', positiveNumber)
    .option('--minutes <minutes>', 'the same; without --virtual it is the longest (default: 5)', positiveNumber)
    .option('--deployments <count>', 'how many, one after the other', positiveInteger, 1)
    .option('--failing <percent>', 'devices with which something is wrong at any time', percent, 0)
    .option('--outage <minutes>', 'the hub is out in the middle, for so long; with --virtual', positiveNumber)
    .option('--s1-units <units>', 'the hub throttles as one of so many units of tier S1', positiveInteger);
  addWork<FleetFlags>(verb, async (session, flags) => {
    const printed = await runSimulators(argumentsOf(flags), session.signal);
    const report = fleetReportSchema.parse(JSON.parse(printed));
    const failure = failureOf(report);
    return { json: report, text: fleetText(report), ...(failure === undefined ? {} : { failure }) };
  });
}

function argumentsOf(flags: FleetFlags): string[] {
  const {
    devices,
    seed,
    real,
    virtual = false,
    slowLinks = false,
    days,
    deployments,
    failing,
    outage,
    s1Units,
  } = flags;
  if (days !== undefined && flags.minutes !== undefined) {
    throw new FerryError('USAGE', 'Cannot take --days and --minutes: one of them was wanted');
  }
  if (real !== undefined && virtual) {
    throw new FerryError('USAGE', 'Cannot take --real with --virtual: real agents live in real time');
  }
  if (slowLinks && virtual) {
    throw new FerryError('USAGE', 'Cannot take --slow-links with --virtual: there links are so by themselves');
  }
  if (outage !== undefined && !virtual) {
    throw new FerryError('USAGE', 'Cannot take --outage without --virtual: a fleet in virtual time was wanted', {
      next: 'Cut a hub that runs with `ferry simulate faults set`.',
    });
  }
  const minutes = days === undefined ? flags.minutes : days * 24 * 60;
  return [
    'fleet',
    '--devices',
    String(devices),
    '--seed',
    String(seed),
    '--minutes',
    String(minutes ?? minutesByDefault[virtual ? 'virtual' : 'real']),
    '--deployments',
    String(deployments),
    '--failing',
    String(failing),
    ...(real === undefined ? [] : ['--real', String(real)]),
    ...(virtual ? ['--virtual'] : []),
    ...(slowLinks ? ['--slow-links'] : []),
    ...(outage === undefined ? [] : ['--outage', String(outage)]),
    ...(s1Units === undefined ? [] : ['--s1-units', String(s1Units)]),
  ];
}

/** Runs the program of the simulators to its end, and gives what it prints. It ends with its standard input, and so with this one. */
async function runSimulators(args: readonly string[], signal: AbortSignal): Promise<string> {
  const child: ChildProcess = spawn(process.execPath, [...process.execArgv, findProgram('simulators').path, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // It takes its folder with it when it is let to; one that does not end is ended.
  let late: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.stdin?.end();
    late = setTimeout(() => child.kill('SIGKILL'), endTimeoutMs);
  };
  signal.addEventListener('abort', stop, { once: true });
  const exited = once(child, 'exit');
  const printed = child.stdout === null ? '' : await text(child.stdout);
  const [code] = await exited;
  clearTimeout(late);
  signal.removeEventListener('abort', stop);
  signal.throwIfAborted();
  if (code === 0) return printed;
  throw new FerryError('WORLD_FAILED', 'Cannot simulate the fleet: the simulators ended, their error is above');
}

function seed(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`It is "${text}", a whole number from 0 was wanted.`);
}

function percent(text: string): number {
  if (/^\d{1,3}(?:\.\d{1,3})?$/.test(text) && Number(text) <= 100) return Number(text);
  throw new InvalidArgumentError(`It is "${text}", a number from 0 to 100 was wanted.`);
}

function positiveNumber(text: string): number {
  if (/^\d{1,6}(?:\.\d{1,3})?$/.test(text) && Number(text) > 0) return Number(text);
  throw new InvalidArgumentError(`It is "${text}", a number over 0 was wanted.`);
}
