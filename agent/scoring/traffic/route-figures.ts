import { Counter, Registry } from 'prom-client';

/** What becomes of a copy of a request. */
type CopyOutcome = 'answered' | 'failed' | 'dropped';

/** What a router counts. */
export class RouteFigures {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: 'modelferry_routed_requests_total',
    help: 'Requests that were answered, by the version that answered and the status code.',
    labelNames: ['version', 'code'],
    registers: [this.#registry],
  });
  readonly #copies = new Counter({
    name: 'modelferry_mirrored_requests_total',
    help: 'Copies of requests, by the version that they were for and what became of them.',
    labelNames: ['version', 'outcome'],
    registers: [this.#registry],
  });

  request(version: string, code: number): void {
    this.#requests.inc({ version, code: String(code) });
  }

  copy(version: string, outcome: CopyOutcome): void {
    this.#copies.inc({ version, outcome });
  }

  /** Writes them as Prometheus reads them. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }
}
