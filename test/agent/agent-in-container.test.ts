import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Docker from 'dockerode';
import { expect, test } from 'vitest';
import { AgentState } from '../../agent/agent-state.ts';
import { resetAgent } from '../../agent/reset.ts';
import { createLogger } from '../../shared/log.ts';
import { LayoutStore } from '../../shared/oci/layout-store.ts';
import { dockerAnswers } from '../docker.ts';
import { putTestImage } from '../shared/containers/test-image.ts';
import { Rig } from './rig.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const socket = '/var/run/docker.sock';

test.skipIf(!dockerAnswers)(
  'the agent in a container, with the socket and its folder mounted, runs modules beside itself on the same engine',
  async () => {
    await using stack = new AsyncDisposableStack();
    const rig = stack.use(await Rig.open());
    const docker = new Docker();
    const main = join(root, 'agent/main.ts');
    const script = `process.argv[1] = '${main}'; await import('${main}');`;
    const layout = await LayoutStore.open(join(rig.folder, 'registry'));
    const image = `${rig.registry.host}/test@${await putTestImage(layout, { script, node: process.execPath })}`;
    const progress = await docker.pull(image);
    await new Promise((resolve, reject) => {
      docker.modem.followProgress(progress, (error: Error | null) =>
        error === null ? resolve(undefined) : reject(error),
      );
    });
    stack.defer(async () => void (await docker.getImage(image).remove({ force: true })));
    const container = await docker.createContainer({
      name: `mf-agent-${process.pid}`,
      Image: image,
      User: '0:0',
      Env: [`FERRY_DEVICE_CONNECTION_STRING=${rig.connectionString}`],
      Cmd: ['run', '--ca', rig.caFile, '--state', rig.stateFolder, '--engine', 'docker', '--keep-modules'],
      HostConfig: {
        NetworkMode: 'host',
        // Paths are the same inside and outside: the engine binds modules' data by the path that the agent says.
        Binds: [`${socket}:${socket}`, `${rig.folder}:${rig.folder}`, `${root}:${root}:ro`],
      },
    });
    stack.defer(async () => {
      await container.remove({ force: true, v: true });
      await resetAgent(rig.stateFolder, createLogger('test', { level: 'silent' }));
    });
    await container.start();
    const { modules } = await rig.reported(await rig.deploy({ digits: { image: await rig.putImage() } }), 200, 60_000);
    expect(modules).toMatchObject({ digits: { runtimeStatus: 'running' } });
    expect(await rig.callMethod('ping', null)).toMatchObject({ status: 200 });
    await container.stop({ t: 15 });
    expect((await container.inspect()).State).toMatchObject({ ExitCode: 0 });
    // A new one, as after an upgrade, finds the module that runs.
    const { owner } = await new AgentState(rig.stateFolder).readIdentity();
    const module = docker.getContainer(`mf-${owner}-digits`);
    const startedAt = async (): Promise<string> => (await module.inspect()).State.StartedAt;
    const before = await startedAt();
    await container.start();
    await rig.reported((await rig.twin()).properties.desired.$version, 200, 60_000);
    expect(await startedAt()).toBe(before);
    expect((await module.inspect()).State.Running).toBe(true);
  },
  120_000,
);
