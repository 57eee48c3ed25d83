import { spawnSync } from 'node:child_process';

const isInside = 'MODELFERRY_BENCH_NETWORK';
const setUp = 'ip link set lo up';

/**
 * Runs this process once more in a network namespace of its own, where the system lets it: the firewall that a machine has, as Docker sets one up,
 * takes a sixth of a light request, and is no part of what is measured.
 * @returns its exit code; undefined where it is to be gone on with here
 */
export function runInOwnNetwork(): number | undefined {
  if (process.env[isInside] !== undefined || process.platform !== 'linux') return undefined;
  if (spawnSync('unshare', ['--net', 'sh', '-c', setUp]).status !== 0) return undefined;
  const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status } = spawnSync('unshare', ['--net', 'sh', '-c', `${setUp} && exec "$0" "$@"`, ...command], {
    stdio: 'inherit',
    env: { ...process.env, [isInside]: 'own' },
  });
  return status ?? 1;
}
