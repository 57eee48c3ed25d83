/** What happened, as the instance view tells it. */
export interface GroupEvent {
  readonly count: number;
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly name: EventName;
  readonly message: string;
  readonly type: 'Normal' | 'Warning';
}

type EventName = 'Pulling' | 'Pulled' | 'Started' | 'Killing' | 'Failed' | 'BackOff' | 'Unhealthy';
const warnings: readonly EventName[] = ['Failed', 'Unhealthy'];
/** Events that a container keeps; older ones go. */
const eventsMax = 100;

/** What happened to a container; the same thing again is counted, not added. */
export class Events {
  #events: GroupEvent[] = [];

  get all(): readonly GroupEvent[] {
    return this.#events;
  }

  add(name: EventName, message: string): void {
    const now = new Date().toISOString();
    const at = this.#events.findIndex((event) => event.name === name && event.message === message);
    const before = this.#events[at];
    if (before !== undefined) {
      this.#events[at] = { ...before, count: before.count + 1, lastTimestamp: now };
      return;
    }
    const type = warnings.includes(name) ? 'Warning' : 'Normal';
    this.#events.push({ count: 1, firstTimestamp: now, lastTimestamp: now, name, message, type });
    if (this.#events.length > eventsMax) this.#events = this.#events.slice(-eventsMax);
  }
}
