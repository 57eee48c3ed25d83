import type { Sources } from '../documents.ts';
import { deviceRows, moduleRows } from '../documents.ts';
import { parseCondition, parseQuery } from '../query/parser.ts';
import { type KeyedRow, countRows } from '../query/run.ts';
import type { Configuration } from './configuration.ts';

/** The queries of the hub's own metrics of a configuration; each can be run as it is. */
export function systemQueries(configuration: Configuration): Readonly<Record<string, string>> {
  const { id, content, targetCondition } = configuration;
  const condition = targetCondition.trim();
  const applied = `configurations.[[${id}]].status = 'Applied'`;
  if (content.moduleContent !== undefined) {
    return {
      targetedCount:
        condition === '' ? '' : `select deviceId, moduleId ${condition === '*' ? 'from devices.modules' : condition}`,
      appliedCount: `select deviceId, moduleId from devices.modules where ${applied}`,
    };
  }
  if (content.deviceContent !== undefined) {
    return {
      targetedCount:
        condition === '' ? '' : `select deviceId from devices${condition === '*' ? '' : ` where ${condition}`}`,
      appliedCount: `select deviceId from devices where ${applied}`,
    };
  }
  const agents = `select deviceId from devices.modules where moduleId = '$edgeAgent' and ${applied}`;
  const reporting = `${agents} and properties.desired.$version = properties.reported.lastDesiredVersion`;
  const narrowed = condition === '*' ? '' : ` and ${isAlternative(condition) ? `(${condition})` : condition}`;
  return {
    targetedCount: condition === '' ? '' : `select deviceId from devices where capabilities.iotEdge = true${narrowed}`,
    appliedCount: agents,
    reportedSuccessfulCount: `${reporting} and properties.reported.lastDesiredStatus.code = 200`,
    reportedFailedCount: `${reporting} and properties.reported.lastDesiredStatus.code != 200`,
  };
}

/** Says whether a condition must stand in brackets, so that its OR does not reach devices without Edge. */
function isAlternative(condition: string): boolean {
  const { where } = condition === '' ? { where: undefined } : parseCondition(condition);
  return where?.kind === 'binary' && where.operator === 'OR';
}

/** Counts what each query finds; an empty query finds nothing. */
export class Counter {
  readonly #sources: Sources;
  #devices: readonly KeyedRow[] | undefined;
  #modules: readonly KeyedRow[] | undefined;

  constructor(sources: Sources) {
    this.#sources = sources;
  }

  count(queries: Readonly<Record<string, string>>): Readonly<Record<string, number>> {
    return Object.fromEntries(Object.entries(queries).map(([name, query]) => [name, this.#countOne(query)]));
  }

  #countOne(text: string): number {
    if (text === '') return 0;
    const query = parseQuery(text);
    if (query.from === 'devices.jobs') return 0;
    // One snapshot for all queries of one answer.
    if (query.from === 'devices') return countRows(query, (this.#devices ??= [...deviceRows(this.#sources)]));
    return countRows(query, (this.#modules ??= [...moduleRows(this.#sources)]));
  }
}
