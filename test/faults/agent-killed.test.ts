import { expect, test } from 'vitest';
import { dockerAnswers } from '../docker.ts';
import { killAtSteps } from './agent-kills.ts';
import { canLink } from './network-link.ts';

/** How often the agent of each engine is killed; more of it finds more. */
const points = Number(process.env['AGENT_KILL_POINTS'] ?? 4);
const seed = Number(process.env['FERRY_SEED'] ?? Date.now() % 1_000_000);
/** On links that are slow or gone there is a part of it. */
const linkPoints = Math.ceil(points / 10);

const claim = `that is killed at any step of any update comes to what is desired or was good, with nothing left over (FERRY_SEED=${seed})`;
const timeoutMs = 240_000 + points * 30_000;

if (!canLink) console.warn('no network namespace can be made here: no agent is killed on a bad link');

test.concurrent(
  `an agent with processes ${claim}`,
  async () => {
    expect(await killAtSteps({ engine: 'process', points, seed })).toBe(0);
  },
  timeoutMs,
);

test.skipIf(!dockerAnswers).concurrent(
  `an agent with Docker ${claim}`,
  async () => {
    expect(await killAtSteps({ engine: 'docker', points, seed })).toBe(0);
  },
  timeoutMs,
);

test.skipIf(!canLink).each([
  ['of 600 ms and 2 % loss', { profile: { delayMs: 300, lostOneIn: 50 } }],
  ['of 100 ms', { profile: { delayMs: 50 } }],
  ['that is gone every 3 s', { profile: {}, offlineMs: 3_000 }],
])(
  `an agent on a link %s ${claim}`,
  async (_, link) => {
    expect(await killAtSteps({ engine: 'process', points: linkPoints, seed, link })).toBe(0);
  },
  timeoutMs,
);
