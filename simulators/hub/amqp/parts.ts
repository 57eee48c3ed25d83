import type { Commands } from '../commands.ts';
import type { EventLog } from '../events.ts';
import type { Registry } from '../identity/registry.ts';
import type { Notices } from '../notices.ts';

/** The parts of the hub that back ends reach over AMQP. */
export interface AmqpParts {
  readonly registry: Registry;
  readonly commands: Commands;
  readonly notices: Notices;
  readonly events: EventLog;
}
