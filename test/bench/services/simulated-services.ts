import { chmod } from 'node:fs/promises';
import { startLocalWorld } from '../../local-world.ts';
import { temporaryFolder } from '../../temporary-folder.ts';
import { Pusher } from './pusher.ts';

/** Services on the simulated ACI and Kubernetes, whose containers are processes of this machine. */
export class SimulatedServices implements AsyncDisposable {
  readonly #pusher: Pusher;
  readonly #opened: AsyncDisposableStack;
  readonly #pushed = new Set<string>();

  private constructor(pusher: Pusher, opened: AsyncDisposableStack) {
    this.#pusher = pusher;
    this.#opened = opened;
  }

  /** Starts the local world and pushes once to each target, so that the layers that all images share are everywhere. */
  static async open(): Promise<SimulatedServices> {
    await using stack = new AsyncDisposableStack();
    const { path: folder } = stack.use(await temporaryFolder());
    // Containers run as another user, who has to get to their files.
    await chmod(folder, 0o755);
    const world = stack.use(
      await startLocalWorld(folder, ['--only', 'registry,storage,arm,kubernetes', '--engine', 'process']),
    );
    const { kubernetes } = world.document as unknown as { kubernetes: { kubeconfigFile: string } };
    const pusher = new Pusher(folder);
    await pusher.writeRows();
    await pusher.ferry(['compute', 'attach', 'sim', '--kubeconfig', kubernetes.kubeconfigFile]);
    const services = new SimulatedServices(pusher, stack.move());
    for (const target of ['aci', 'aks/sim']) await services.pushNew(target);
    return services;
  }

  /** Pushes a new model as a new service, in the place of the one before. @returns seconds */
  async pushNew(target: string): Promise<number> {
    const name = nameOn(target);
    if (this.#pushed.has(name)) await this.#pusher.ferry(['service', 'delete', name]);
    this.#pushed.add(name);
    return this.#pusher.pushNew(name, target);
  }

  async pushAgain(target: string): Promise<number> {
    return this.#pusher.pushAgain(nameOn(target), target);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opened.disposeAsync();
  }
}

function nameOn(target: string): string {
  return `model-${target.replace('/', '-')}`;
}
