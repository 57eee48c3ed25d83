import { createInterface } from 'node:readline';
import { z } from 'zod';
import { exitCodes, runProgram } from '../../shared/process-entry.ts';
import { trustAlso } from '../../shared/tls-trust.ts';
import { LightDevice, type LightDeviceOptions } from './light-device.ts';
import type { Link } from './link.ts';
import { askPlatformOnce } from './one-platform.ts';
import { PipeHub } from './pipe-hub.ts';
import { type Images, imageSchema, type Profile, profileSchema } from './profile.ts';
import { slowed } from './slow-link.ts';
import { systemTimeline, VirtualTimeline } from './timeline.ts';
import { Turns } from './turns.ts';

/** What comes on standard input, a JSON object a line: `start`, any number of `devices`, `run`; then answers, or `stop`. */
const startSchema = z.object({
  mode: z.enum(['real', 'virtual']),
  images: z.record(z.string(), imageSchema),
  /** Whether links to a real hub are as slow as the profiles say. */
  slowLinks: z.boolean().default(false),
  /** The hub's CA; of a real one. */
  caFile: z.string().optional(),
  /** When virtual time begins, in milliseconds since 1970; when it ends; and when the hub wants a turn of its own. */
  epochMs: z.number().default(0),
  endMs: z.number().default(0),
  turnsMs: z.array(z.number()).default([]),
});

type Start = z.infer<typeof startSchema>;

/** Made once: each of hundreds of thousands of lines is read by it. */
const lineSchema = z.record(z.string(), z.unknown());

/** How long virtual time goes on after the devices are told to end, in milliseconds. */
const endingMs = 60_000;
/** Devices that connect at the same time: where the machine is slow, more of them would only run into their deadlines. */
const connectingMax = 64;
/** Devices that one line tells about. */
const summariesPerLine = 500;

// Links that go down make many errors that nobody reads: taking the stack is most of what they cost.
Error.stackTraceLimit = 0;

await runProgram(main);

/** The program of many light devices; not called by hand. Ends with its standard input. */
async function main(): Promise<number> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const read = async (): Promise<Record<string, unknown>> => {
    const { done, value } = await lines.next();
    if (done === true) process.exit(exitCodes.failed);
    return lineSchema.parse(JSON.parse(value));
  };
  const start = startSchema.parse((await read())['start']);
  const profiles: Profile[] = [];
  for (let line = await read(); line['run'] === undefined; line = await read()) {
    profiles.push(...z.array(profileSchema).parse(line['devices']));
  }
  const devices =
    start.mode === 'virtual' ? await liveVirtually(start, profiles, read) : await live(start, profiles, read);
  for (let at = 0; at < devices.length; at += summariesPerLine) {
    write({ summaries: devices.slice(at, at + summariesPerLine).map((device) => device.summarize()) });
  }
  await new Promise((resolve) => process.stdout.write(`${JSON.stringify({ done: true })}\n`, resolve));
  // The device SDK leaves timers behind that would keep the process for minutes.
  process.exit(exitCodes.done);
}

async function liveVirtually(
  start: Start,
  profiles: readonly Profile[],
  read: () => Promise<unknown>,
): Promise<LightDevice[]> {
  const timeline = new VirtualTimeline(start.epochMs);
  const hub = new PipeHub({
    timeline,
    ask: (batch) => {
      write({ batch });
      return read();
    },
  });
  for (const turnMs of start.turnsMs) timeline.at(turnMs, () => hub.take());
  const devices = profiles.map((profile) => {
    const deviceId = deviceIdOf(profile);
    return new LightDevice({ profile, images: imagesOf(start), timeline, linkOf: (of) => hub.linkOf(deviceId, of) });
  });
  await timeline.runUntil(start.endMs);
  const ending = Promise.all(devices.map((device) => device.end()));
  await timeline.runUntil(start.endMs + endingMs);
  await ending;
  return devices;
}

async function live(
  start: Start,
  profiles: readonly Profile[],
  read: () => Promise<Record<string, unknown>>,
): Promise<LightDevice[]> {
  if (start.caFile !== undefined) trustAlso(start.caFile);
  askPlatformOnce();
  const [{ HubSession }, { HubFileUpload }, { measureClockSkew }, { parseDeviceConnectionString }] = await Promise.all([
    import('../hub/hub-session.ts'),
    import('../hub/file-upload.ts'),
    import('../hub/clock-skew.ts'),
    import('../../shared/edge/connection-string.ts'),
  ]);
  const connecting = new Turns(connectingMax);
  const fastLinkOf = (profile: Profile, { network, nowMs }: Parameters<LightDeviceOptions['linkOf']>[0]): Link => ({
    openSession: async (identity, handlers, signal) => {
      if (!network.isUp) throw new Error('the network is down');
      const session = await connecting.run(() => HubSession.open(identity, handlers, signal));
      const callOff = network.onDown(() => handlers.onLost(new Error('the network is down')));
      return Object.assign(session, { [Symbol.asyncDispose]: disposeBoth(session, callOff) });
    },
    destination: new HubFileUpload(parseDeviceConnectionString(profile.connectionString)),
    // A device's clock may be wrong where this machine's is not.
    measureClockSkew: async (address, skewSignal) => {
      const machineMs = await measureClockSkew(address, skewSignal);
      return machineMs === undefined ? undefined : machineMs + nowMs() - Date.now();
    },
  });
  const linkOf = (profile: Profile, of: Parameters<LightDeviceOptions['linkOf']>[0]): Link => {
    const link = fastLinkOf(profile, of);
    return start.slowLinks ? slowed(link, of.network) : link;
  };
  const timeline = fromNow(systemTimeline.monotonicMs());
  const devices = profiles.map(
    (profile) => new LightDevice({ profile, images: imagesOf(start), timeline, linkOf: (of) => linkOf(profile, of) }),
  );
  write({ started: devices.length });
  for (let line = await read(); line['stop'] === undefined; line = await read());
  await Promise.all(devices.map((device) => device.end()));
  return devices;
}

/** The machine's time, that counts from a moment. */
function fromNow(beginMs: number): typeof systemTimeline {
  return {
    ...systemTimeline,
    monotonicMs: () => systemTimeline.monotonicMs() - beginMs,
    at: (monotonicMs, work) => systemTimeline.at(monotonicMs + beginMs, work),
  };
}

function disposeBoth(session: AsyncDisposable, callOff: () => void): () => Promise<void> {
  const dispose = session[Symbol.asyncDispose].bind(session);
  return async () => {
    callOff();
    await dispose();
  };
}

function imagesOf({ images }: Start): Images {
  return new Map(Object.entries(images));
}

function deviceIdOf({ connectionString }: Profile): string {
  return /(?:^|;)DeviceId=([^;]+)/.exec(connectionString)?.[1] ?? '';
}

function write(line: unknown): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
