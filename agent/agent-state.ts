import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../shared/durable-file.ts';
import { FerryError, isFerryError } from '../shared/errors.ts';
import { FileLock } from '../shared/file-lock.ts';

/** How long an agent waits for one that is just ending, in milliseconds. */
const lockTimeoutMs = 5_000;

/** How long the secret behind modules' keys is, in bytes: what the hub makes keys of. */
const moduleSecretBytes = 32;

const identitySchema = z.object({
  /** Tells this agent's containers from others on the same engine. */
  owner: z.string().regex(/^[0-9a-f]{8}$/),
  /** The engine that `auto` chose the first time: it stays, whatever is up first after a power cut. */
  engine: z.enum(['docker', 'process']).optional(),
});

/** What the agent has to know of itself over restarts. */
export type AgentIdentity = z.infer<typeof identitySchema>;

/** The agent's folder of state. Every file in it is replaced whole and durably. */
export class AgentState {
  readonly folder: string;

  /** Names the files of a folder that may not be there; {@link open} makes it. */
  constructor(folder: string) {
    this.folder = folder;
  }

  /** Opens the folder, and makes it where there is none. Others may pass through it but not look. */
  static async open(folder: string): Promise<AgentState> {
    await mkdir(folder, { recursive: true, mode: 0o711 });
    return new AgentState(folder);
  }

  /** Folder of the images, an OCI layout. */
  get imagesFolder(): string {
    return join(this.folder, 'images');
  }

  /** File of when images were last used. */
  get imageUsageFile(): string {
    return join(this.folder, 'image-usage.json');
  }

  /** Folder with a folder for each module. */
  get modulesFolder(): string {
    return join(this.folder, 'modules');
  }

  /** File of the desired states that are and were in force. */
  get desiredFile(): string {
    return join(this.folder, 'desired.json');
  }

  /** Socket file on which the agent tells how it is. */
  get statusSocket(): string {
    return join(this.folder, 'agent.sock');
  }

  /** File of the counts of restarts. */
  get watchFile(): string {
    return join(this.folder, 'modules.json');
  }

  /**
   * Does work while no other agent uses the folder.
   * @throws {FerryError} IN_USE when one does
   */
  async whileAlone<T>(work: () => Promise<T>): Promise<T> {
    let begun = false;
    try {
      const lock = new FileLock(join(this.folder, 'agent.lock'));
      return await lock.run(
        () => {
          begun = true;
          return work();
        },
        { timeoutMs: lockTimeoutMs },
      );
    } catch (error) {
      if (begun || !isFerryError(error, 'TIMEOUT')) throw error;
      throw new FerryError('IN_USE', `Cannot use the folder "${this.folder}": another agent runs on it`, {
        next: 'End that agent, or give --state another folder.',
      });
    }
  }

  /** Reads which agent this is; a new one where that was never written. */
  async readIdentity(): Promise<AgentIdentity> {
    const found = identitySchema.safeParse(await readJson(join(this.folder, 'agent.json')));
    if (found.success) return found.data;
    const identity = { owner: randomBytes(4).toString('hex') };
    await this.writeIdentity(identity);
    return identity;
  }

  /** Reads the secret that the keys of modules follow from where the device has no key; a new one where there is none. Base64. */
  async readModuleSecret(): Promise<string> {
    const path = join(this.folder, 'module-secret');
    const found = await readFile(path, 'utf8').catch(() => '');
    if (Buffer.from(found, 'base64').byteLength === moduleSecretBytes) return found;
    const secret = randomBytes(moduleSecretBytes).toString('base64');
    await writeDurably(path, secret, { mode: 0o600 });
    return secret;
  }

  async writeIdentity(identity: AgentIdentity): Promise<void> {
    await writeDurably(join(this.folder, 'agent.json'), JSON.stringify(identity), { mode: 0o600 });
  }
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch {
    return undefined;
  }
}
