import { ledgersProperty } from '../shared/collect/reported-ledger.ts';
import { type AgentFacts, agentProperty } from '../shared/edge/reported-agent.ts';
import { type ScoringFigures, scoringProperty } from '../shared/edge/reported-scoring.ts';
import type { Ledger } from './collect/ledger.ts';
import { CollectedLedgers } from './collected-ledgers.ts';
import { fitReport } from './fit-report.ts';
import type { Pull } from './images/image-store.ts';
import { unprovenBecause } from './labels.ts';
import { pullProgress } from './images/pull-progress.ts';
import type { Look } from './reconciler.ts';
import { type JsonObject, reportedState } from './report.ts';

/** The settings of {@link Reporting}. */
export interface ReportingOptions {
  readonly agentStartedAt: string;
  readonly agentVersion: string;
  /** Gives the images that are being pulled. */
  readonly pulls: () => readonly Pull[];
  /** Gives what is told of the agent itself. */
  readonly facts: () => AgentFacts;
  /** Takes what the hub is to hold. */
  readonly send: (report: JsonObject) => void;
}

/** Puts together what the hub is told: how the modules are, how far pulls are, and what became of what they have collected. */
export class Reporting {
  readonly ledgers = new CollectedLedgers();
  readonly #options: ReportingOptions;
  #look: Look | undefined;
  #scoring: Readonly<Record<string, ScoringFigures>> = {};
  #report: JsonObject = {};

  constructor(options: ReportingOptions) {
    this.#options = options;
  }

  /** What was seen last, if anything was. */
  get look(): Look | undefined {
    return this.#look;
  }

  /** What was last put together, before it was made to fit. */
  get report(): JsonObject {
    return this.#report;
  }

  /** Reports what was seen. */
  noteLook(look: Look): void {
    const { agentStartedAt, agentVersion, pulls, facts, send } = this.#options;
    this.#look = look;
    const state = reportedState({ ...look, agentStartedAt, agentVersion });
    this.#report = {
      ...state,
      pulls: pullProgress(pulls()),
      [agentProperty]: structuredClone({ ...facts(), ...unprovenModules(look) }) as JsonObject,
      [scoringProperty]: structuredClone(this.#scoring) as JsonObject,
      [ledgersProperty]: this.ledgers.all,
    };
    send(fitReport(this.#report));
  }

  /** Reports what is told of the agent itself anew. */
  noteFacts(): void {
    if (this.#look !== undefined) this.noteLook(this.#look);
  }

  /** Reports what the scoring servers of the modules have done. */
  noteScoring(figures: Readonly<Record<string, ScoringFigures>>): void {
    this.#scoring = figures;
    this.noteFacts();
  }

  /** Reports the ledger of a module's buffer. */
  noteLedger(module: string, ledger: Ledger): void {
    this.ledgers.note(module, ledger);
    this.noteFacts();
  }

  /** Reports the ledger of a module's buffer after it was drained. */
  async noteDrain(module: string, databasePath: string): Promise<void> {
    await this.ledgers.read(module, databasePath);
    this.noteFacts();
  }
}

/** Says which modules took their place without a rehearsal, and why. */
function unprovenModules({ containers }: Look): Pick<AgentFacts, 'unproven'> {
  const reasons = containers.flatMap(({ name, labels }): [string, string][] => {
    const reason = unprovenBecause(labels);
    return reason === undefined ? [] : [[name, reason]];
  });
  return reasons.length === 0 ? {} : { unproven: Object.fromEntries(reasons) };
}
