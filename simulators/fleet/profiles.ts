import { Random } from '../../shared/random.ts';

/** The networks that devices are in, a third of them in each. */
export const networks = {
  /** Up and down for five minutes each. */
  intermittent: {
    roundTripMs: 60,
    lossShare: 0,
    bytesPerSecond: 5_000_000,
    flapping: { upMs: 300_000, downMs: 300_000 },
  },
  /** A satellite, or a far cell. */
  lossy: { roundTripMs: 600, lossShare: 0.02, bytesPerSecond: 1_000_000 },
  cellular: { roundTripMs: 100, lossShare: 0.002, bytesPerSecond: 3_000_000 },
} as const;

/** A network that devices are in. */
export type NetworkName = keyof typeof networks;

/** What goes wrong with a device for a while. */
export interface Trouble {
  readonly kind: (typeof troubleKinds)[number];
  readonly fromMs: number;
  readonly toMs: number;
  readonly clockOffMs?: number;
}

/** What can go wrong with a device. */
export const troubleKinds = ['offline', 'crash', 'power cut', 'disk full', 'wrong clock'] as const;

/** How one device is, as the program of the devices is told; all but the connection string. */
export interface DeviceProfile {
  readonly seed: number;
  readonly startMs: number;
  readonly network: {
    readonly roundTripMs: number;
    readonly lossShare: number;
    readonly bytesPerSecond: number;
    readonly flapping?: { readonly upMs: number; readonly downMs: number; readonly phaseMs: number };
  };
  readonly readyMs: number;
  readonly rowsPerHour: number;
  readonly uploadEveryMs: number;
  readonly uploadFirstMs: number;
  readonly troubles: Trouble[];
}

/** The settings of {@link makeProfiles}. */
export interface ProfileOptions {
  readonly devices: number;
  readonly seed: number;
  /** How long the run takes, in milliseconds. Nothing goes wrong in its last tenth. */
  readonly endMs: number;
  /** Share of the devices with which something is wrong at any time, from 0 to 1. */
  readonly failingShare: number;
  /** Within which time all are switched on, in milliseconds. */
  readonly startWithinMs: number;
  readonly uploadEveryMs: number;
  readonly rowsPerHour: { readonly min: number; readonly max: number };
  /** Whether links are as {@link networks} say; else all are good. */
  readonly hasNetworks: boolean;
}

/** How long one trouble lasts at most, in milliseconds. */
const troubleMaxMs = 3_600_000;
/** Farthest that a wrong clock is off, in milliseconds: weeks. */
const clockOffMaxMs = 30 * 24 * 3_600_000;
/** A link as good as it gets. */
const good = { roundTripMs: 20, lossShare: 0, bytesPerSecond: 20_000_000 };

/** Makes the devices of a fleet; the same options make the same. */
export function makeProfiles(options: ProfileOptions): DeviceProfile[] {
  const { devices, seed, startWithinMs, uploadEveryMs } = options;
  const random = new Random(seed);
  const profiles = Array.from({ length: devices }, (_, index): DeviceProfile => {
    const name = (Object.keys(networks) as NetworkName[])[index % 3] ?? 'cellular';
    return {
      seed: random.below(2 ** 32),
      startMs: Math.floor(random.fraction() * startWithinMs),
      network: options.hasNetworks ? networkOf(name, random) : good,
      readyMs: random.between(300, 4_000),
      rowsPerHour: random.between(options.rowsPerHour.min, options.rowsPerHour.max),
      uploadEveryMs,
      uploadFirstMs: Math.floor(random.fraction() * uploadEveryMs),
      troubles: [],
    };
  });
  addTroubles(profiles, options, random);
  return profiles;
}

function networkOf(name: NetworkName, random: Random): DeviceProfile['network'] {
  if (name !== 'intermittent') return networks[name];
  const { flapping, ...network } = networks.intermittent;
  return { ...network, flapping: { ...flapping, phaseMs: random.below(flapping.upMs) } };
}

/** Time is cut into stretches, and in each of them something is wrong with its share of the devices. */
function addTroubles(profiles: readonly DeviceProfile[], options: ProfileOptions, random: Random): void {
  const { endMs, failingShare } = options;
  const lastMs = endMs * 0.9;
  const stretchMs = Math.min(troubleMaxMs, endMs / 20);
  // Of a small fleet there is one at least, if any is to be.
  const failing = failingShare === 0 ? 0 : Math.max(1, Math.round(profiles.length * failingShare));
  for (let fromMs = stretchMs; fromMs + stretchMs <= lastMs; fromMs += stretchMs) {
    for (let count = 0; count < failing; count += 1) {
      const kind = random.pick(troubleKinds);
      const [from, to] = [Math.floor(fromMs), Math.floor(fromMs + stretchMs)];
      const clockOffMs = kind === 'wrong clock' ? random.between(-clockOffMaxMs, clockOffMaxMs) : 0;
      profiles[random.below(profiles.length)]?.troubles.push({ kind, fromMs: from, toMs: to, clockOffMs });
    }
  }
}
