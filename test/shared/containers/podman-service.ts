import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Docker from 'dockerode';
import { until } from '../../until.ts';

/** Whether Podman can be tried here: it is installed, and this is root. */
export const podmanIsThere =
  process.getuid?.() === 0 && spawnSync('podman', ['--version'], { stdio: 'ignore' }).status === 0;

/**
 * Podman's Docker API on a socket file, with images and containers in a folder of its own.
 * @returns with the path of the socket
 */
export async function startPodman(folder: string): Promise<{ readonly socketPath: string } & AsyncDisposable> {
  const config = join(folder, 'containers.conf');
  // Podman's own are over what a container may set that it is itself run in.
  await writeFile(config, '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n');
  const socketPath = join(folder, 'podman.sock');
  const places = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
  const quiet = ['--cgroup-manager', 'cgroupfs', '--events-backend', 'file'];
  const service = spawn('podman', [...places, ...quiet, 'system', 'service', '--time=0', `unix://${socketPath}`], {
    stdio: 'ignore',
    // What watches a container leaves a file where it was started when the container had too little memory.
    cwd: folder,
    env: { ...process.env, CONTAINERS_CONF: config },
  });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => {
    const ended = once(service, 'exit');
    service.kill('SIGTERM');
    await ended;
  });
  const docker = new Docker({ socketPath });
  await until(() => existsSync(socketPath), { what: 'Podman listens', timeoutMs: 30_000 });
  await until(() => docker.ping(), { what: 'Podman answers', timeoutMs: 30_000 });
  const disposal = cleanup.move();
  return {
    socketPath,
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  };
}
