import { type Command, InvalidArgumentError } from 'commander';
import { FerryError } from '../../shared/errors.ts';
import { type Faults, HubSimulator } from '../azure/hub-simulator.ts';
import type { CommandResult } from '../cli/result.ts';
import { becomeProgram } from '../../shared/programs.ts';
import { fields } from '../../shared/text-layout.ts';
import { addWork, type Session } from '../cli/session.ts';
import { addFleet } from './simulate-fleet.ts';

interface SetFlags {
  readonly refuseConnections?: 'on' | 'off';
  readonly delay?: number;
  readonly losePubacks?: number;
  readonly throttle?: number;
  readonly fail?: number;
  readonly clockSkew?: number;
  readonly outage?: number;
}

/** Adds the verbs of `ferry simulate`. */
export function addSimulateVerbs(noun: Command): void {
  addFleet(noun);
  addAccelerator(noun.command('accelerator').description('a simulated accelerator with one model, in the foreground'));
  addFaultVerbs(noun.command('faults').description('what goes wrong in the simulated IoT Hub, switched while it runs'));
  addDeviceVerbs(noun.command('device').description('what happens to one device of the simulated IoT Hub'));
}

interface AcceleratorFlags {
  readonly name?: string;
  readonly modelVersion?: string;
  readonly host: string;
  readonly port: string;
  readonly latency: string;
  readonly queue: string;
  readonly unsupported?: readonly string[];
}

function addAccelerator(verb: Command): void {
  verb
    .argument('<file>', 'the ONNX file; quantised (QDQ), with numbers alone in its shapes')
    .option('--name <name>', 'what the model is called there (default: as the file)')
    .option('--model-version <version>', 'its version there (default: 1)')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port of the Open Inference Protocol; 0 takes any free one', within(0, 65_535), '8500')
    .option('--latency <ms>', 'what one run takes at least', within(0, 600_000), '1')
    .option('--queue <count>', 'requests that may wait', within(1, 100_000), '64')
    .option(
      '--unsupported <operators...>',
      'operators that the card has not: they run on the processor, and it says so',
    )
    .action((file: string, { unsupported, ...flags }: AcceleratorFlags) => {
      const named = Object.entries({ ...flags, model: file }).flatMap(([key, value]) => [
        `--${key.replace('modelVersion', 'model-version')}`,
        value,
      ]);
      becomeProgram('simulators', ['accelerator', ...named, ...(unsupported ? ['--unsupported', ...unsupported] : [])]);
    });
}

function addFaultVerbs(noun: Command): void {
  addWork(noun.command('show').description('show what is switched on, and what is left of it'), async (session) => {
    using hub = await openSimulator(session);
    return describeFaults(hub, await hub.readFaults());
  });

  const set = noun
    .command('set')
    .description('switch faults on; those that are not named stay as they are')
    .option('--refuse-connections <on|off>', 'cut whoever connects', onOrOff)
    .option('--delay <seconds>', 'let everything that comes in wait so long', seconds)
    .option('--lose-pubacks <count>', "lose the next acknowledgements of devices' messages", count)
    .option('--throttle <count>', 'answer the next requests with 429', count)
    .option('--fail <count>', 'answer the next requests with 500', count)
    .option('--clock-skew <seconds>', "put the hub's clock ahead, or back by a negative number", signedSeconds)
    .option('--outage <seconds>', 'cut everybody, and let nobody in for so long', seconds);
  addWork<SetFlags>(set, async (session, flags) => {
    const change = changeOf(flags);
    if (Object.keys(change).length === 0) {
      throw new FerryError('USAGE', 'Cannot set the faults: no fault is named, one or more were wanted', {
        next: 'Add --help to see them.',
      });
    }
    using hub = await openSimulator(session);
    return describeFaults(hub, await hub.setFaults(change));
  });

  addWork(noun.command('clear').description('switch all faults off'), async (session) => {
    using hub = await openSimulator(session);
    return describeFaults(hub, await hub.clearFaults());
  });
}

function addDeviceVerbs(noun: Command): void {
  const drop = noun.command('drop').description('cut its connection and those of its modules');
  addWork(drop.argument('<id>', 'its id'), async (session, _flags, [id = '']) => {
    using hub = await openSimulator(session);
    await hub.dropDevice(id);
    return { json: { deviceId: id, hub: hub.hostName }, text: fields({ dropped: id, hub: hub.hostName }) };
  });

  const expire = noun
    .command('expire')
    .description('cut it, and take its token of now, and any that ends earlier, for expired');
  addWork(expire.argument('<id>', 'its id'), async (session, _flags, [id = '']) => {
    using hub = await openSimulator(session);
    await hub.expireDevice(id);
    return { json: { deviceId: id, hub: hub.hostName }, text: fields({ expired: id, hub: hub.hostName }) };
  });
}

async function openSimulator(session: Session): Promise<HubSimulator> {
  return await HubSimulator.open(await session.openWorkspace(), session.signal);
}

function changeOf(flags: SetFlags): Partial<Faults> {
  const { refuseConnections, delay, losePubacks, throttle, fail, clockSkew, outage } = flags;
  return {
    ...(refuseConnections === undefined ? {} : { refuseConnections: refuseConnections === 'on' }),
    ...(delay === undefined ? {} : { delayMs: delay * 1000 }),
    ...(losePubacks === undefined ? {} : { losePubacks }),
    ...(throttle === undefined ? {} : { throttleRequests: throttle }),
    ...(fail === undefined ? {} : { failRequests: fail }),
    ...(clockSkew === undefined ? {} : { clockSkewMs: clockSkew * 1000 }),
    ...(outage === undefined ? {} : { outageMs: outage * 1000 }),
  };
}

function describeFaults(hub: HubSimulator, faults: Faults): CommandResult {
  return {
    json: { hub: hub.hostName, ...faults },
    text: fields({
      hub: hub.hostName,
      'refuse connections': faults.refuseConnections ? 'on' : 'off',
      delay: `${faults.delayMs / 1000} s`,
      'lose pubacks': faults.losePubacks,
      throttle: faults.throttleRequests,
      fail: faults.failRequests,
      'clock skew': `${faults.clockSkewMs / 1000} s`,
      outage: `${faults.outageMs / 1000} s`,
    }),
  };
}

/** Checks a whole number, which another program then reads. */
function within(min: number, max: number): (text: string) => string {
  return (text) => {
    if (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max) return text;
    throw new InvalidArgumentError(`It is "${text}", a whole number from ${min} to ${max} was wanted.`);
  };
}

function onOrOff(text: string): 'on' | 'off' {
  if (text === 'on' || text === 'off') return text;
  throw new InvalidArgumentError(`It is "${text}", on or off was wanted.`);
}

function count(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`It is "${text}", a whole number from 0 was wanted.`);
}

/** Milliseconds are the finest that the simulator knows. */
function seconds(text: string): number {
  if (/^\d{1,6}(?:\.\d{1,3})?$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`It is "${text}", seconds from 0 were wanted.`);
}

function signedSeconds(text: string): number {
  if (/^-?\d{1,6}(?:\.\d{1,3})?$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`It is "${text}", seconds were wanted.`);
}
