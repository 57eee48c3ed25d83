import { EventEmitter } from 'node:events';
import type { Clock } from '../../../shared/clock.ts';
import type { Sources } from '../documents.ts';
import { HubError } from '../hub-error.ts';
import { checkEtag, newEtag } from '../identity/identity.ts';
import { jsonEquals } from '../json.ts';
import type { Store } from '../store.ts';
import { timeOf } from '../time.ts';
import {
  type Configuration,
  type ConfigurationBody,
  type Content,
  checkConfigurationId,
  checkTargetCondition,
  readContent,
  readMetrics,
} from './configuration.ts';
import { Counter, systemQueries } from './metrics.ts';

/** A paid hub's quota. @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling */
const configurationsMax = 100;

/** What the metrics of a configuration came to. */
interface Counts {
  readonly metrics: Readonly<Record<string, number>>;
  readonly systemMetrics: Readonly<Record<string, number>>;
}

interface ConfigurationsEvents {
  /** What targets whom may be another now. */
  readonly changed: [];
}

/**
 * The configurations of the hub.
 *
 * Invariants: the content of a configuration never changes; an id names one configuration at a time.
 */
export class Configurations {
  readonly events = new EventEmitter<ConfigurationsEvents>();
  readonly all = new Map<string, Configuration>();
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #sources: Sources;
  #counted: Map<string, Counts> | undefined;
  #lastSequence = 0;

  constructor(options: { readonly store: Store; readonly clock: Clock; readonly sources: Sources }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#sources = options.sources;
    for (const [id, configuration] of this.#store.read<Configuration>('configuration')) {
      this.all.set(id, configuration);
      this.#lastSequence = Math.max(this.#lastSequence, configuration.sequence);
    }
  }

  /** @throws {HubError} ConfigurationNotFound */
  get(id: string): Configuration {
    const configuration = this.all.get(id);
    if (configuration === undefined) {
      throw new HubError('ConfigurationNotFound', `E404015 ConfigurationNotFound: configuration "${id}"`);
    }
    return configuration;
  }

  /**
   * Makes a configuration.
   * @throws {HubError} ConfigurationAlreadyExists, ConfigurationCountLimitExceeded, ArgumentInvalid, and the Invalid… ones
   */
  create(body: ConfigurationBody): Configuration {
    checkConfigurationId(body.id);
    if (this.all.has(body.id)) {
      throw new HubError('ConfigurationAlreadyExists', `A configuration with ID '${body.id}' already exists.`);
    }
    const content = readContent(body.content);
    const mutable = this.#readMutable(body, content);
    if (this.all.size >= configurationsMax) {
      throw new HubError('ConfigurationCountLimitExceeded', `A hub holds ${configurationsMax} configurations at most`);
    }
    const now = timeOf(this.#clock.nowMs());
    this.#lastSequence += 1;
    return this.#put({
      id: body.id,
      schemaVersion: body.schemaVersion ?? '1.0',
      content,
      ...mutable,
      createdTimeUtc: now,
      lastUpdatedTimeUtc: now,
      etag: newEtag(),
      sequence: this.#lastSequence,
    });
  }

  /**
   * Changes the target condition, priority, labels and metrics of a configuration.
   * @throws {HubError} ConfigurationNotFound, PreconditionFailed, CannotModifyImmutableConfigurationContent, and the Invalid… ones
   */
  update(body: ConfigurationBody, ifMatch: string | undefined): Configuration {
    const before = this.get(body.id);
    checkEtag(ifMatch, before.etag);
    const content = body.content == null ? before.content : readContent(body.content);
    if (!jsonEquals(content as never, before.content as never)) {
      throw new HubError(
        'CannotModifyImmutableConfigurationContent',
        `The content of configuration '${body.id}' cannot be changed: make a new one of higher priority`,
      );
    }
    return this.#put({
      ...before,
      ...this.#readMutable(body, content),
      lastUpdatedTimeUtc: timeOf(this.#clock.nowMs()),
      etag: newEtag(),
    });
  }

  /** @throws {HubError} ConfigurationNotFound, PreconditionFailed */
  remove(id: string, ifMatch: string | undefined): void {
    checkEtag(ifMatch, this.get(id).etag);
    this.all.delete(id);
    this.#store.remove('configuration', id);
    this.events.emit('changed');
  }

  /** From now on metrics are counted when {@link count} is called, and not when somebody asks. */
  countSeldom(): void {
    this.#counted ??= new Map();
  }

  /** Counts the metrics of all configurations. */
  count(): void {
    const counter = new Counter(this.#sources);
    const all = [...this.all.values()];
    this.#counted = new Map(all.map((configuration) => [configuration.id, countsOf(configuration, counter)]));
  }

  /** Gives a configuration as callers see it. */
  document(configuration: Configuration, counter = new Counter(this.#sources)): Record<string, unknown> {
    const { sequence: _sequence, metrics, content, ...rest } = configuration;
    const counts =
      this.#counted === undefined
        ? countsOf(configuration, counter)
        : (this.#counted.get(configuration.id) ?? { metrics: {}, systemMetrics: {} });
    return {
      ...rest,
      content,
      contentType: 'assignments',
      metrics: { queries: metrics, results: counts.metrics },
      systemMetrics: { queries: systemQueries(configuration), results: counts.systemMetrics },
    };
  }

  /** Gives the first configurations by id as callers see them; there are no pages. */
  documents(top: number): readonly Record<string, unknown>[] {
    const counter = new Counter(this.#sources);
    const ordered = [...this.all.values()].sort((left, right) => (left.id < right.id ? -1 : 1));
    return ordered.slice(0, top).map((configuration) => this.document(configuration, counter));
  }

  #readMutable(
    body: ConfigurationBody,
    content: Content,
  ): Pick<Configuration, 'labels' | 'targetCondition' | 'priority' | 'metrics'> {
    const targetCondition = body.targetCondition ?? '';
    checkTargetCondition(targetCondition, content);
    return {
      labels: body.labels ?? {},
      targetCondition,
      priority: body.priority ?? 0,
      metrics: readMetrics(body.metrics?.queries ?? {}),
    };
  }

  #put(configuration: Configuration): Configuration {
    this.all.set(configuration.id, configuration);
    this.#store.put('configuration', configuration.id, configuration);
    this.events.emit('changed');
    return configuration;
  }
}

function countsOf(configuration: Configuration, counter: Counter): Counts {
  return {
    metrics: counter.count(configuration.metrics),
    systemMetrics: counter.count(systemQueries(configuration)),
  };
}
