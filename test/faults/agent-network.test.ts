import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { resetAgent } from '../../agent/reset.ts';
import { createLogger } from '../../shared/log.ts';
import { AgentProcess } from '../agent/agent-process.ts';
import { Rig, waitingScript } from '../agent/rig.ts';
import { Random } from '../random.ts';
import { until } from '../until.ts';
import { canLink, type LinkProfile, NetworkLink } from './network-link.ts';

if (!canLink) console.warn('no network namespace can be made here: the tests of the agent on bad links are skipped');

/** How long the link is there and is not, in turn, in milliseconds: FERRY_OFFLINE_MS=300000 is five minutes. */
const offlineMs = Number(process.env['FERRY_OFFLINE_MS'] ?? 3_000);

/** Runs an agent at the far end of a link, and then a story. */
async function overLink(
  profile: LinkProfile,
  story: (parts: { rig: Rig; link: NetworkLink; agent: AgentProcess }) => Promise<void>,
): Promise<void> {
  await using rig = await Rig.open();
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => {
    await resetAgent(rig.stateFolder, createLogger('test', { level: 'silent' }));
  });
  const link = stack.use(await NetworkLink.open([rig.hub.port, Number(rig.registry.host.split(':')[1])], profile));
  const args = ['--ca', rig.caFile, '--state', rig.stateFolder, '--engine', 'process', '--log-level', 'info'];
  const environment = { FERRY_DEVICE_CONNECTION_STRING: rig.connectionString };
  const agent = stack.use(new AgentProcess(args, environment, link.through));
  await story({ rig, link, agent });
}

test.skipIf(!canLink).each([
  ['600 ms and 2 % loss', { delayMs: 300, lostOneIn: 50 }],
  ['100 ms', { delayMs: 50 }],
])(
  'an agent on a link of %s gets what is deployed, and the hub hears of it',
  (_, profile) =>
    overLink(profile, async ({ rig }) => {
      const image = await rig.putImage();
      const { modules } = await rig.reported(await rig.deploy({ digits: { image } }), 200, 60_000);
      expect(modules).toMatchObject({ digits: { runtimeStatus: 'running' } });
      const next = await rig.reported(await rig.deploy({ digits: { image, env: { WORD: 'next' } } }), 200, 60_000);
      expect(next.modules).toMatchObject({ digits: { env: { WORD: { value: 'next' } } } });
    }),
  150_000,
);

test.skipIf(!canLink)(
  `pain 10, offline for long: an agent that is without a link every ${offlineMs} ms keeps its modules, and catches up each time`,
  () =>
    overLink({}, async ({ rig, link }) => {
      const image = await rig.putImage();
      await rig.reported(await rig.deploy({ digits: { image }, other: { image } }), 200, 60_000);
      const pid = await readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8');
      for (const WORD of ['one', 'two']) {
        link.cut();
        const version = await rig.deploy({ digits: { image }, other: { image, env: { WORD } } });
        await wait(offlineMs);
        expect((await rig.twin()).properties.reported.lastDesiredVersion).not.toBe(version);
        link.mend();
        await rig.reported(version, 200, 60_000 + offlineMs);
        await wait(offlineMs);
      }
      expect(await readFile(join(rig.dataFolder('digits'), 'pid'), 'utf8')).toBe(pid);
    }),
  200_000 + 6 * offlineMs,
);

test.skipIf(!canLink)(
  'pain 2, a pull on a link that drops every few seconds: every byte of an image comes over it about once',
  () =>
    overLink({ delayMs: 25, bytesPerSecond: 500_000 }, async ({ rig, link, agent }) => {
      await rig.reported(await rig.deploy({}), 200, 60_000);
      const padding = new Random(3).bytes(1_500_000).toString('hex');
      const image = await rig.putImage(`${waitingScript}\n# ${padding}`);
      const { layers } = await rig.readManifest(image);
      const imageBytes = layers.reduce((sum, { size }) => sum + size, 0);
      const before = await link.bytes();
      const version = await rig.deploy({ digits: { image } });
      let drops = 0;
      for (; drops < 60 && !agent.output.includes('"staged"') && !/\bstaged\b/.test(agent.output); drops += 1) {
        await wait(1_500);
        link.cut();
        link.reset();
        await wait(500);
        link.mend();
      }
      expect(drops).toBeGreaterThan(2);
      await until(() => /\bstaged\b/.test(agent.output), { timeoutMs: 30_000 });
      const bytes = (await link.bytes()) - before;
      expect(bytes).toBeGreaterThan(imageBytes);
      expect(bytes).toBeLessThan(1.2 * imageBytes);
      await rig.reported(version, 200, 60_000);
    }),
  200_000,
);
