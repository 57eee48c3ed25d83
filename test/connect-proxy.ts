import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';

/**
 * An HTTP proxy that only knows `CONNECT`, as those at the edge of a site do: it wants a name and a password, and it alone knows where the
 * names are.
 */
export class ConnectProxy implements AsyncDisposable {
  /** What was asked for, as `host:port`. */
  readonly asked: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * @param places ports of this machine by `host:port`; all others are refused
   * @param password of the user `device`
   */
  static async open(places: Readonly<Record<string, number>>, password: string): Promise<ConnectProxy> {
    const server = createServer((_, response) => void response.writeHead(405).end());
    const proxy = new ConnectProxy(server);
    const wanted = `Basic ${Buffer.from(`device:${password}`).toString('base64')}`;
    server.on('connect', ({ url = '', headers }, near: Socket, head: Buffer) => {
      const port = places[url];
      proxy.#keep(near);
      if (headers['proxy-authorization'] !== wanted) {
        near.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n');
        return;
      }
      proxy.asked.push(url);
      if (port === undefined) near.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
      else proxy.#join(near, { port, head });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return proxy;
  }

  /** Where it is, with the given name and password. */
  address(userAndPassword: string): string {
    return `http://${userAndPassword}@127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #join(near: Socket, { port, head }: { readonly port: number; readonly head: Buffer }): void {
    const far = connect(port, '127.0.0.1', () => {
      near.write('HTTP/1.1 200 Connection established\r\n\r\n');
      far.write(head);
      near.pipe(far).pipe(near);
    });
    this.#keep(far);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
