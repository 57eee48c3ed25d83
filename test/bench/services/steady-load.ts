import { Agent, request } from 'node:http';

/** Sends requests at a rate, whatever becomes of those before: half on connections that are kept, half on new ones. */
export class SteadyLoad {
  readonly #url: string;
  readonly #body: string;
  readonly #everyMs: number;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #waiting = new Set<Promise<void>>();
  #sent = 0;
  /** Requests that were answered with anything but 200, or not at all. */
  failed = 0;

  constructor(url: string, body: string, perSecond: number) {
    this.#url = url;
    this.#body = body;
    this.#everyMs = 1000 / perSecond;
  }

  async run(forMs: number): Promise<void> {
    await this.runWhile(new Promise((resolve) => setTimeout(resolve, forMs)));
  }

  async runWhile(work: Promise<unknown>): Promise<void> {
    const startMs = performance.now();
    let sent = 0;
    const timer = setInterval(() => {
      for (; sent * this.#everyMs < performance.now() - startMs; sent += 1) this.#send();
    }, this.#everyMs);
    try {
      await work;
    } finally {
      clearInterval(timer);
      await Promise.all(this.#waiting);
    }
  }

  #send(): void {
    const agent = (this.#sent += 1) % 2 === 0 ? this.#agent : false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const asking = request(this.#url, {
      method: 'POST',
      agent,
      headers: { 'content-type': 'application/json', 'content-length': this.#body.length },
    });
    asking.on('error', () => {
      this.failed += 1;
      resolve();
    });
    asking.on('response', (response) => {
      if (response.statusCode !== 200) this.failed += 1;
      response.resume().on('close', resolve);
    });
    asking.end(this.#body);
    this.#waiting.add(promise);
    void promise.then(() => this.#waiting.delete(promise));
  }
}
