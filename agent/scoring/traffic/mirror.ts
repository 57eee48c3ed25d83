import type { RouteFigures } from './route-figures.ts';
import type { Copy } from './routed-exchange.ts';

/** Copies that are on their way at once; one more is dropped and counted: copies never slow the service down. */
const copiesMax = 64;

/** Sends copies of requests to versions whose answers nobody waits for. */
export class Mirror implements AsyncDisposable {
  readonly #figures: RouteFigures;
  readonly #timeoutMs: number;
  readonly #sending = new Set<Promise<void>>();

  constructor(figures: RouteFigures, timeoutMs: number) {
    this.#figures = figures;
    this.#timeoutMs = timeoutMs;
  }

  readonly send = (copy: Copy): void => {
    const { name } = copy.to;
    if (this.#sending.size >= copiesMax) {
      this.#figures.copy(name, 'dropped');
      return;
    }
    const sending = this.#send(copy)
      .then(
        (isGood) => this.#figures.copy(name, isGood ? 'answered' : 'failed'),
        () => this.#figures.copy(name, 'failed'),
      )
      .finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
  };

  /** Waits for those that are on their way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#sending);
  }

  /** @returns whether it was scored */
  async #send({ to, request, body }: Copy): Promise<boolean> {
    const whole = Buffer.concat(body);
    const headers = [...request.headers, 'content-length', String(whole.byteLength), 'x-modelferry-mirrored', 'true'];
    const target = to.request({ ...request, headers }, AbortSignal.timeout(this.#timeoutMs));
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    target.on('error', reject);
    target.on('response', (answer) => {
      answer.on('error', reject);
      answer.on('end', () => resolve(answer.statusCode === 200));
      answer.resume();
    });
    target.end(whole);
    return await promise;
  }
}
