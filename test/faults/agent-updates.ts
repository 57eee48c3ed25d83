import type { ModuleToDeploy } from '../../shared/edge/build-manifest.ts';
import { freePort } from '../../agent/apply/free-port.ts';
import { type Rig, waitingScript } from '../agent/rig.ts';
import type { Random } from '../random.ts';

/** The modules of a deployment: `first` waits, `scored` scores; `more0` to `more2` come and go. */
export type Modules = Readonly<Record<string, ModuleToDeploy>>;

/** What is done to a device, and what it is to come to. */
export interface Update {
  /** What is deployed; a text is a schema version that no agent takes. */
  readonly deploy: Modules | string;
  /** What the device is to run in the end. @default what is deployed */
  readonly keep?: Modules;
  /** What the agent is to report in the end. @default 200 */
  readonly code?: 412 | 500;
  /** A module that is to be started anew by a direct method. */
  readonly restart?: string;
}

/** One kind of update. */
export interface UpdateKind {
  readonly name: string;
  /** Says whether it can be done to a device with such modules. */
  readonly fits: (now: Modules) => boolean;
  readonly make: (now: Modules) => Update | Promise<Update>;
  /** Whether somebody is to ask the scoring module all the while. */
  readonly isCalled?: boolean;
  /** The kind that can only be done after this one. */
  readonly leadsTo?: string;
}

/** Makes updates of every kind from what is deployed now. Each differs from all before, so that none is nothing to do. */
export class Updates {
  /** Images that modules were ever given. */
  readonly images = new Set<string>();
  readonly #rig: Rig;
  readonly #random: Random;
  readonly #scoringPort: number;
  #count = 0;

  private constructor(rig: Rig, random: Random, scoringPort: number) {
    this.#rig = rig;
    this.#random = random;
    this.#scoringPort = scoringPort;
  }

  static async open(rig: Rig, random: Random): Promise<Updates> {
    return new Updates(rig, random, await freePort());
  }

  /** Where `scored` is asked. */
  get scoringUrl(): string {
    return `http://127.0.0.1:${this.#scoringPort}/score`;
  }

  readonly kinds: readonly UpdateKind[] = [
    {
      name: 'first install',
      fits: (now) => Object.keys(now).length === 0,
      make: async () => ({ deploy: { first: await this.#waiting(), scored: await this.#scoring() } }),
    },
    {
      name: 'module added',
      fits: (now) => now['first'] === undefined && now['scored'] !== undefined,
      make: async (now) => ({ deploy: { ...now, first: await this.#waiting() } }),
    },
    this.#toBoth('module update', async ({ scored, ...now }) => ({
      deploy: { ...now, first: await this.#waiting(), scored },
    })),
    this.#toBoth('model update', async (now) => ({ deploy: { ...now, scored: await this.#scoring() } })),
    this.#toBoth('config, at once', ({ first, ...now }) => ({
      deploy: { ...now, first: { ...first, env: this.#env() } },
    })),
    this.#toBoth('config, rehearsed', (now) => ({
      deploy: { ...now, scored: { ...now.scored, env: this.#env({ ANSWER: 1 }) } },
    })),
    this.#toBoth('several at once', async ({ first, scored, ...others }) => ({
      deploy: {
        ...others,
        first: { ...first, env: this.#env(), startupOrder: 1 },
        [`more${this.#count % 3}`]: { ...(await this.#waiting()), startupOrder: 2 },
        scored: { ...scored, env: this.#env({ ANSWER: 1 }) },
      },
    })),
    this.#toBoth('bad rehearsal', (now) => ({
      deploy: { ...now, scored: { ...now.scored, env: this.#env({ ANSWER: 2 }) } },
      keep: now,
      code: 500,
    })),
    this.#toBoth('rollback at start', (now) => ({
      // More memory than there is: it takes the place of the one before without a rehearsal.
      deploy: {
        ...now,
        scored: { ...this.#roomless(now.scored), env: this.#env({ ANSWER: 2 }) },
      },
      keep: now,
      code: 500,
    })),
    {
      ...this.#toBoth('rollback in probation', (now) => ({
        deploy: { ...now, scored: { ...now.scored, env: this.#env({ ANSWER: 1, FAILS: 0.5 }) } },
        keep: now,
        code: 500,
      })),
      isCalled: true,
    },
    this.#toBoth('rejected manifest', (now) => ({ deploy: '9.0', keep: now, code: 412 })),
    this.#toBoth('image not there', ({ first, ...now }) => ({
      deploy: { ...now, first: { ...first, image: this.#noImage(), env: this.#env() } },
      keep: { ...now, first },
      code: 500,
    })),
    this.#toBoth('restart', (now) => ({ deploy: now, restart: 'scored' })),
    { ...this.#toBoth('module removed', ({ scored }) => ({ deploy: { scored } })), leadsTo: 'module added' },
    { ...this.#toBoth('all removed', () => ({ deploy: {} })), leadsTo: 'first install' },
  ];

  /** A kind that can be done to a device with both modules. */
  #toBoth(
    name: string,
    make: (now: Modules & Record<'first' | 'scored', ModuleToDeploy>) => Update | Promise<Update>,
  ): UpdateKind {
    return {
      name,
      fits: ({ first, scored }) => first !== undefined && scored !== undefined,
      make: ({ first, scored, ...others }) => {
        if (first === undefined || scored === undefined) throw new Error(`the kind "${name}" does not fit`);
        return make({ ...others, first, scored });
      },
    };
  }

  #env(more: ModuleToDeploy['env'] = {}): NonNullable<ModuleToDeploy['env']> {
    this.#count += 1;
    return { COUNT: this.#count, ...more };
  }

  /** A module of an image that the device has never seen: its layer of some size comes over the wire. */
  async #waiting(): Promise<ModuleToDeploy> {
    const image = await this.#rig.putImage(`${waitingScript}\n# ${this.#padding()}`);
    this.images.add(image);
    return { image, env: this.#env() };
  }

  /** The same of one that scores: all but the layer that is its model is on the device. */
  async #scoring(): Promise<ModuleToDeploy> {
    const image = await this.#rig.putScoringImage({ script: `\n// ${this.#padding()}` });
    this.images.add(image);
    const PortBindings = { '5001/tcp': [{ HostIp: '127.0.0.1', HostPort: String(this.#scoringPort) }] };
    return { image, env: this.#env({ ANSWER: 1 }), createOptions: { HostConfig: { PortBindings } } };
  }

  #roomless(module: ModuleToDeploy): ModuleToDeploy {
    return { ...module, createOptions: { HostConfig: { ...module.createOptions?.HostConfig, Memory: 2 ** 40 } } };
  }

  #noImage(): string {
    return `${this.#rig.registry.host}/test@sha256:${this.#random.bytes(32).toString('hex')}`;
  }

  #padding(): string {
    return this.#random.bytes(30_000).toString('hex');
  }
}
