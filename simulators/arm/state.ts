import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { writeDurably } from '../../shared/durable-file.ts';
import { systemCodeOf } from '../../shared/errors.ts';
import { definitionSchema } from './container-groups/definition.ts';

/** A workload whose own tokens the application may be signed in with. */
const federatedCredentialSchema = z.strictObject({
  issuer: z.string().min(1),
  subject: z.string().min(1),
  audience: z.string().min(1).default('api://AzureADTokenExchange'),
  /** Key that the issuer signs with (PEM): the simulator fetches none from a network. */
  publicKeyPem: z.string().includes('-----BEGIN PUBLIC KEY-----'),
});
export const federatedCredentialsSchema = z.array(federatedCredentialSchema).max(20);

const tagsSchema = z.record(z.string(), z.string());
const resourceGroupSchema = z.strictObject({ name: z.string(), location: z.string(), tags: tagsSchema });

/** A resource group as it is kept. */
export type ResourceGroup = z.infer<typeof resourceGroupSchema>;

const keptGroupSchema = z.strictObject({
  resourceGroup: z.string(),
  name: z.string(),
  /** Its address on this machine. */
  ip: z.string(),
  isStopped: z.boolean(),
  principalId: z.string(),
  definition: definitionSchema,
});

/** A container group as it is kept. */
export type KeptGroup = z.infer<typeof keptGroupSchema>;

const stateSchema = z.strictObject({
  tenantId: z.string(),
  subscriptionId: z.string(),
  clientId: z.string(),
  clientSecret: z.string(),
  /** Key that tokens are signed with (PEM). */
  signingKeyPem: z.string(),
  /** Tells this simulator's containers from all others on the machine. */
  owner: z.string(),
  federatedCredentials: federatedCredentialsSchema,
  resourceGroups: z.array(resourceGroupSchema),
  containerGroups: z.array(keptGroupSchema),
});

/** All that outlives a run of the simulator. */
export type State = z.infer<typeof stateSchema>;

/** The one resource group that is there from the start, as a workspace names it by default. */
export const firstResourceGroup = 'local';
export const firstRegion = 'westeurope';

/** The simulator's state in a file of its own (0600, it holds secrets); one writer. */
export class StateFile {
  readonly state: State;
  readonly #path: string;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, state: State) {
    this.#path = path;
    this.state = state;
  }

  /** Reads what an earlier run has kept, or begins anew. */
  static async open(folder: string, subscriptionId: string): Promise<StateFile> {
    await mkdir(folder, { recursive: true });
    const path = join(folder, 'state.json');
    const text = await readFile(path, 'utf8').catch((error: unknown) => {
      if (systemCodeOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    const state = text === undefined ? newState(subscriptionId) : stateSchema.parse(JSON.parse(text));
    const file = new StateFile(path, { ...state, subscriptionId });
    await file.save();
    return file;
  }

  /** Keeps what the state is now; a call that came back is in the file. */
  async save(): Promise<void> {
    const text = `${JSON.stringify(this.state)}\n`;
    this.#writing = this.#writing.then(
      () => writeDurably(this.#path, text, { mode: 0o600 }),
      () => writeDurably(this.#path, text, { mode: 0o600 }),
    );
    await this.#writing;
  }
}

function newState(subscriptionId: string): State {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    tenantId: randomUUID(),
    subscriptionId,
    clientId: randomUUID(),
    clientSecret: randomBytes(24).toString('base64url'),
    signingKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    owner: `arm${randomBytes(4).toString('hex')}`,
    federatedCredentials: [],
    resourceGroups: [{ name: firstResourceGroup, location: firstRegion, tags: {} }],
    containerGroups: [],
  };
}
