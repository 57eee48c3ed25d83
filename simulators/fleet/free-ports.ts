import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Ports that no connection is given by itself: Linux takes those from 32,768 on, and a fleet makes thousands.
 * @see https://docs.kernel.org/networking/ip-sysctl.html, ip_local_port_range
 */
const ports = { first: 21_000, last: 32_000 } as const;

/**
 * Finds TCP ports of this machine that nothing listens on just now.
 * @throws {Error} when there are too few
 */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  for (let port = ports.first; port <= ports.last && found.length < count; port += 1) {
    if (await isFree(port)) found.push(port);
  }
  if (found.length < count) throw new Error(`There are ${found.length} free ports, ${count} were wanted`);
  return found;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listening = once(server, 'listening').then(
    () => true,
    () => false,
  );
  server.listen(port);
  if (!(await listening)) return false;
  server.close();
  await once(server, 'close');
  return true;
}
