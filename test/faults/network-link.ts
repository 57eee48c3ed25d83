import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { PassThrough, Transform } from 'node:stream';
import { Random } from '../random.ts';

/** How a link is. */
export interface LinkProfile {
  /** From one end to the other, in milliseconds. @default 0 */
  readonly delayMs?: number;
  /** One piece in so many is lost, and comes after a second of silence. @default none */
  readonly lostOneIn?: number;
  /** @default no limit */
  readonly bytesPerSecond?: number;
}

/** How long TCP waits before it sends again what was lost on a link that it knows little of, in milliseconds (RFC 6298). */
const retransmitMs = 1_000;

/** What runs inside: it takes what goes to this machine's ports, and sends it over the link. */
const innerRelay = `
const net = require('node:net');
const [host, ...ports] = process.argv.slice(1);
for (const port of ports) {
  net.createServer((inner) => {
    const outer = net.connect({ host, port });
    inner.pipe(outer).pipe(inner);
    for (const [one, other] of [[inner, outer], [outer, inner]]) one.on('error', () => {}).on('close', () => other.destroy());
  }).listen(port, '127.0.0.1', () => console.log('listening'));
}
`;

/**
 * A link of its own to a network namespace, which can be slow, lose, and be cut: then nobody is told, as with a cable. From inside, ports of the
 * loopback lead over it to the same ports outside.
 */
export class NetworkLink implements AsyncDisposable {
  readonly #name: string;
  readonly #profile: LinkProfile;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #random = new Random(1);
  #inner: ChildProcess | undefined;

  private constructor(name: string, profile: LinkProfile) {
    this.#name = name;
    this.#profile = profile;
  }

  /** @param ports those of this machine's loopback that are reached over it */
  static async open(ports: readonly number[], profile: LinkProfile = {}): Promise<NetworkLink> {
    const link = new NetworkLink(`mf${process.pid}`, profile);
    const address = `10.213.${process.pid % 250}`;
    try {
      link.#connect(address);
      for (const port of ports) await link.#relay(`${address}.1`, port);
      if (ports.length === 0) return link;
      const args = [
        'netns',
        'exec',
        link.#name,
        process.execPath,
        '-e',
        innerRelay,
        `${address}.1`,
        ...ports.map(String),
      ];
      link.#inner = spawn('ip', args, { stdio: ['ignore', 'pipe', 'inherit'] });
      if (link.#inner.stdout !== null) await once(link.#inner.stdout, 'data');
      return link;
    } catch (error) {
      await link[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The command that runs another at the far end. */
  get through(): readonly string[] {
    return ['ip', 'netns', 'exec', this.#name];
  }

  /** Bytes that went to the far end so far, with all headers. */
  async bytes(): Promise<number> {
    return Number(await readFile(`/sys/class/net/${this.#name}/statistics/tx_bytes`, 'utf8'));
  }

  /** Cuts the link: what is sent is gone, and nobody is told. */
  cut(): void {
    execFileSync('ip', ['link', 'set', this.#name, 'down']);
  }

  /** Mends it. */
  mend(): void {
    execFileSync('ip', ['link', 'set', this.#name, 'up']);
  }

  /** Forgets every connection, as a gateway does that was started anew. */
  reset(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#inner?.kill('SIGKILL');
    this.reset();
    for (const server of this.#servers) server.close();
    execFileSync('ip', ['netns', 'del', this.#name], { stdio: 'ignore' });
  }

  #connect(address: string): void {
    const [near, far] = [this.#name, `${this.#name}f`];
    const inside = ['netns', 'exec', this.#name, 'ip'];
    for (const args of [
      ['netns', 'add', this.#name],
      ['link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', this.#name],
      ['addr', 'add', `${address}.1/30`, 'dev', near],
      ['link', 'set', near, 'up'],
      [...inside, 'addr', 'add', `${address}.2/30`, 'dev', far],
      [...inside, 'link', 'set', far, 'up'],
      [...inside, 'link', 'set', 'lo', 'up'],
    ]) {
      execFileSync('ip', args);
    }
  }

  async #relay(host: string, port: number): Promise<void> {
    const server = createServer((inner) => {
      const outer = connect({ host: '127.0.0.1', port });
      inner.pipe(this.#slow()).pipe(outer);
      outer.pipe(this.#slow()).pipe(inner);
      for (const [one, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        this.#sockets.add(one);
        one.on('error', () => undefined);
        one.on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      }
    });
    server.listen(port, host);
    await once(server, 'listening');
    this.#servers.push(server);
  }

  #slow(): Transform {
    const { delayMs = 0, lostOneIn, bytesPerSecond } = this.#profile;
    if (delayMs === 0 && lostOneIn === undefined && bytesPerSecond === undefined) return new PassThrough();
    const random = this.#random;
    let freeAtMs = 0;
    const onTheWay: Buffer[] = [];
    let arrived = (): void => undefined;
    return new Transform({
      transform(piece: Buffer, _encoding, done) {
        const now = performance.now();
        const lost = lostOneIn !== undefined && random.oneIn(lostOneIn) ? retransmitMs : 0;
        const sendingMs = bytesPerSecond === undefined ? 0 : (piece.length / bytesPerSecond) * 1000;
        freeAtMs = Math.max(freeAtMs, now + delayMs) + lost + sendingMs;
        onTheWay.push(piece);
        // The oldest arrives, whichever timer is first: timers are rounded, and nothing overtakes on a connection.
        setTimeout(() => {
          this.push(onTheWay.shift());
          if (onTheWay.length === 0) arrived();
        }, freeAtMs - now);
        // The next piece may be on its way as well, but no more than the link takes.
        setTimeout(done, lost + sendingMs);
      },
      flush(done) {
        if (onTheWay.length === 0) done();
        else arrived = done;
      },
    });
  }
}

/** Whether this process may make links; tests that need one skip, and say so, where it may not. */
export const canLink: boolean = await NetworkLink.open([]).then(
  async (link) => {
    await link[Symbol.asyncDispose]();
    return true;
  },
  () => false,
);
