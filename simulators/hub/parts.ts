import type { Clock } from '../../shared/clock.ts';
import type { Logger } from '../../shared/log.ts';
import { Commands } from './commands.ts';
import { Configurations } from './configurations/configurations.ts';
import { Evaluator } from './configurations/evaluator.ts';
import type { Sources } from './documents.ts';
import { EventLog } from './events.ts';
import { Faults } from './faults.ts';
import { Presence } from './identity/presence.ts';
import { Registry } from './identity/registry.ts';
import { ImportExport } from './import-export.ts';
import { Jobs } from './jobs.ts';
import { Methods } from './methods.ts';
import { Sessions } from './mqtt/sessions.ts';
import { Notices } from './notices.ts';
import type { Store } from './store.ts';
import { Throttles } from './throttles.ts';
import { Twins } from './twins/twins.ts';
import { type StorageAccount, Uploads } from './uploads.ts';

/** What a hub consists of behind its port; the parts know no protocol. */
export interface Parts {
  readonly store: Store;
  readonly registry: Registry;
  readonly twins: Twins;
  readonly presence: Presence;
  readonly commands: Commands;
  readonly events: EventLog;
  readonly notices: Notices;
  readonly uploads: Uploads;
  readonly sessions: Sessions;
  readonly methods: Methods;
  readonly configurations: Configurations;
  readonly evaluator: Evaluator;
  readonly jobs: Jobs;
  readonly importExport: ImportExport;
  readonly faults: Faults;
  readonly throttles: Throttles;
  readonly sources: Sources;
}

/** Makes the parts of a hub, each with what the store holds of it. */
export function assemble(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly storage?: StorageAccount | undefined;
  /** Units of tier S1 whose throttles hold. @default no throttles */
  readonly s1Units?: number | undefined;
}): Parts {
  const { store, log, storage } = options;
  const faults = new Faults(options.clock);
  const { clock } = faults;
  const registry = new Registry({ store, clock });
  const twins = new Twins({ registry, clock });
  const presence = new Presence({ clock });
  const commands = new Commands({ store, clock });
  const sources: Sources = { registry, presence, countCommands: (deviceId) => commands.count(deviceId) };
  const methods = new Methods();
  const configurations = new Configurations({ store, clock, sources });
  return {
    store,
    registry,
    twins,
    presence,
    commands,
    events: new EventLog({ store, clock }),
    notices: new Notices({ store, clock }),
    uploads: new Uploads({ store, clock, log, account: storage }),
    sessions: new Sessions(store),
    methods,
    jobs: new Jobs({ store, clock, log, sources, twins, methods }),
    importExport: new ImportExport({ store, clock, log, sources, twins }),
    configurations,
    evaluator: new Evaluator({ registry, twins, store, sources, configurations, log }),
    faults,
    throttles: new Throttles({ units: options.s1Units, clock }),
    sources,
  };
}
