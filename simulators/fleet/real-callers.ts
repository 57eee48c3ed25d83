import { setTimeout as sleep } from 'node:timers/promises';

/** How often each module is asked to score a row, in milliseconds. */
const askEveryMs = 250;
/** How long it may take, in milliseconds. */
const answerTimeoutMs = 5_000;

/**
 * What the modules of real agents are there for: on each device somebody asks for a score, again and again, and counts what is answered. A row that is
 * answered has to be collected.
 */
export class RealCallers implements AsyncDisposable {
  /** Rows that were answered, by device. */
  readonly answered = new Map<string, number>();
  readonly #ending = new AbortController();
  readonly #calling: Promise<unknown>;

  /** @param ports on which devices of this machine score */
  constructor(ports: ReadonlyMap<string, number>) {
    this.#calling = Promise.all([...ports].map(([deviceId, port]) => this.#call(deviceId, port)));
  }

  async #call(deviceId: string, port: number): Promise<void> {
    const { signal } = this.#ending;
    for (let row = 1; !signal.aborted; row += 1) {
      if (await isScored(port, row, signal)) this.answered.set(deviceId, (this.answered.get(deviceId) ?? 0) + 1);
      await sleep(askEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#calling;
  }
}

/** Asks once; nobody may be there yet, or just now. */
async function isScored(port: number, row: number, signal: AbortSignal): Promise<boolean> {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/score`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ row }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(answerTimeoutMs)]),
    });
    await answer.text();
    return answer.ok;
  } catch {
    return false;
  }
}
