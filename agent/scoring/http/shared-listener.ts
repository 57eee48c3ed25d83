import { existsSync } from 'node:fs';
import type { RequestLimits } from '../settings.ts';
import { Listener } from './listener.ts';
import type { RouterOptions } from './router.ts';
import type { TlsFiles } from './tls-files.ts';

/** A socket that is bound already, at which other processes accept connections too. */
export interface SharedSocket {
  readonly fd: number;
  /** Nothing is accepted before this file is there: whoever handed the socket over may want to see first whether this server is any good. @default at once */
  readonly onceThereIs: string | undefined;
}

/** How often it is looked for the file, until it is there. */
const lookMs = 20;

/** The HTTP side of a scoring server at a socket that it shares with others. */
export class SharedListener implements AsyncDisposable {
  readonly #timer: NodeJS.Timeout | undefined;
  #listener: Promise<Listener> | undefined;
  #listening: Listener | undefined;

  /** @param onFailure called with why it cannot listen there */
  constructor(
    { fd, onceThereIs }: SharedSocket,
    settings: { readonly limits: RequestLimits; readonly tls: TlsFiles | undefined },
    { onFailure, ...options }: RouterOptions & { readonly onFailure: (error: unknown) => void },
  ) {
    const begin = (): void => {
      clearInterval(this.#timer);
      this.#listener = Listener.start({ fd, ...settings }, options);
      this.#listener.then((listener) => (this.#listening = listener), onFailure);
    };
    if (onceThereIs === undefined) begin();
    else {
      this.#timer = setInterval(() => {
        if (existsSync(onceThereIs)) begin();
      }, lookMs);
    }
  }

  /** Requests that are read or answered now. */
  get exchanges(): number {
    return this.#listening?.exchanges ?? 0;
  }

  /** Accepts no more, answers what is in flight, and ends. @returns whether all was answered in time */
  async drain(timeoutMs: number): Promise<boolean> {
    clearInterval(this.#timer);
    const listener = await this.#listener?.catch(() => undefined);
    return (await listener?.drain(timeoutMs)) ?? true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }
}
