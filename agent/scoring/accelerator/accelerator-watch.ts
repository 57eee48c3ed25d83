import { messageOf } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/log.ts';
import type { ServiceModel } from '../../../shared/model/service-config.ts';
import { type AcceleratorReport, judgeAccelerator } from './accelerator-report.ts';
import type { AcceleratorSettings } from './accelerator-settings.ts';
import type { RuntimeClient } from './runtime-client.ts';

/** The settings of an {@link AcceleratorWatch}. */
export interface AcceleratorWatchOptions {
  readonly client: RuntimeClient;
  readonly model: ServiceModel;
  readonly settings: AcceleratorSettings;
  readonly log: Logger;
}

/** Knows how the accelerator is: asks its runtime again and again, since it may compile for minutes, end, and come back with less. */
export class AcceleratorWatch implements Disposable {
  readonly #options: AcceleratorWatchOptions;
  #report: AcceleratorReport = { ready: false, reason: 'it was not asked yet' };
  #timer: NodeJS.Timeout | undefined;
  #asking: Promise<void> | undefined;
  #closed = false;

  private constructor(options: AcceleratorWatchOptions) {
    this.#options = options;
  }

  /** Begins with a first answer, or with the runtime being away. */
  static async start(options: AcceleratorWatchOptions): Promise<AcceleratorWatch> {
    const watch = new AcceleratorWatch(options);
    await watch.ask();
    return watch;
  }

  get report(): AcceleratorReport {
    return this.#report;
  }

  /** Asks now, if it is not being asked. */
  async ask(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => (this.#asking = undefined));
    await this.#asking;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #ask(): Promise<void> {
    clearTimeout(this.#timer);
    const { client, model, settings } = this.#options;
    try {
      const metadata = await client.metadata();
      this.#become(judgeAccelerator(metadata, model, settings.shareMin));
    } catch (error) {
      this.#become({ ready: false, reason: messageOf(error) });
    }
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.ask(), settings.askEveryMs);
    this.#timer.unref();
  }

  /** Says what changed, once. */
  #become(report: AcceleratorReport): void {
    const before = this.#report;
    this.#report = report;
    if (before.ready === report.ready && before.reason === report.reason) return;
    const { model, log } = this.#options;
    const { simulated, nodes, accelerated_nodes: accelerated } = report.placement ?? {};
    const about = { model: model.name, version: model.version, nodes, accelerated, simulated };
    if (report.ready) log.info(about, 'the accelerator is ready');
    else log.warn({ ...about, reason: report.reason }, 'the accelerator is not ready');
  }
}
