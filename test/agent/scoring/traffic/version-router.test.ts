import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { readRouteSettings } from '../../../../agent/scoring/traffic/route-settings.ts';
import { VersionRouter } from '../../../../agent/scoring/traffic/version-router.ts';
import { createLogger } from '../../../../shared/log.ts';
import { until } from '../../../until.ts';

/** A version that says what it was sent. */
async function startVersion(name: string, answer?: RequestListener) {
  const bodies: string[] = [];
  const server = createServer(
    answer ??
      (async (incoming, response) => {
        const body = await text(incoming);
        bodies.push(`${String(incoming.headers['x-modelferry-mirrored'] ?? 'own')} ${body}`);
        response.writeHead(200, { 'x-of': name }).end(`${name} ${incoming.url} ${body}`);
      }),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    bodies,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

interface Route {
  readonly name: string;
  readonly port: number;
  readonly percent: number;
  readonly mirrorPercent?: number;
}

async function startRouter(routes: readonly Route[]): Promise<VersionRouter> {
  const versions = routes.map((route) => ({ host: '127.0.0.1', mirrorPercent: 0, ...route }));
  const settings = readRouteSettings({
    MODELFERRY_ROUTES: JSON.stringify(versions),
    MODELFERRY_HOST: '127.0.0.1',
    MODELFERRY_PORT: '0',
    MODELFERRY_HEALTH_PORT: '0',
    SCORING_TIMEOUT_MS: '1000',
  });
  return await VersionRouter.start(settings, createLogger('router', { level: 'silent' }));
}

async function post({ port }: VersionRouter, body: string, headers: Record<string, string> = {}) {
  const response = await fetch(`http://127.0.0.1:${port}/score?x=1`, { method: 'POST', body, headers });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

test('VersionRouter shares requests out exactly, hands them and their answers on, and says who answered', async () => {
  await using own = await startVersion('default');
  await using next = await startVersion('next');
  await using router = await startRouter([
    { name: 'default', port: own.port, percent: 75 },
    { name: 'next', port: next.port, percent: 25 },
  ]);
  for (let turn = 0; turn < 40; turn += 1) {
    const { status, headers, text: said } = await post(router, `body ${turn}`);
    expect(status).toBe(200);
    expect(said).toBe(`${headers.get('x-modelferry-version')} /score?x=1 body ${turn}`);
    expect(headers.get('x-of')).toBe(headers.get('x-modelferry-version'));
  }
  expect([own.bodies.length, next.bodies.length]).toEqual([30, 10]);
  const metrics = await (await fetch(`http://127.0.0.1:${router.healthPort}/metrics`)).text();
  expect(metrics).toContain('modelferry_routed_requests_total{version="next",code="200"} 10');
});

test('VersionRouter lets a request choose its version by name, and refuses a name that is none', async () => {
  await using own = await startVersion('default');
  await using next = await startVersion('next');
  await using router = await startRouter([
    { name: 'default', port: own.port, percent: 100 },
    { name: 'next', port: next.port, percent: 0 },
  ]);
  const named = await post(router, 'x', { 'azureml-model-deployment': 'next' });
  expect(named.headers.get('x-modelferry-version')).toBe('next');
  const unknown = await post(router, 'x', { 'azureml-model-deployment': 'none' });
  expect(unknown.status).toBe(404);
  expect(unknown.text).toContain('one of \\"default\\", \\"next\\" was wanted');
});

test('VersionRouter copies a share of the requests to a version, whose failures nobody sees', async () => {
  await using own = await startVersion('default');
  await using next = await startVersion('next');
  await using broken = await startVersion('broken', (_incoming, response) => response.destroy());
  await using router = await startRouter([
    { name: 'default', port: own.port, percent: 100 },
    { name: 'next', port: next.port, percent: 0, mirrorPercent: 50 },
    { name: 'broken', port: broken.port, percent: 0, mirrorPercent: 100 },
  ]);
  for (let turn = 0; turn < 10; turn += 1) {
    const { headers } = await post(router, `body ${turn}`);
    expect(headers.get('x-modelferry-version')).toBe('default');
  }
  await until(() => next.bodies.length === 5);
  expect(next.bodies.every((body) => /^true body \d$/.test(body))).toBe(true);
  const metrics = async (): Promise<string> => (await fetch(`http://127.0.0.1:${router.healthPort}/metrics`)).text();
  await until(async () => (await metrics()).includes('{version="broken",outcome="failed"} 10'));
  expect(await metrics()).toContain('{version="next",outcome="answered"} 5');
});

test("VersionRouter sends what a version that is gone does not answer to the service's own, but for who asked for it by name", async () => {
  await using own = await startVersion('default');
  const gone = await startVersion('gone');
  await gone[Symbol.asyncDispose]();
  await using router = await startRouter([
    { name: 'default', port: own.port, percent: 50 },
    { name: 'gone', port: gone.port, percent: 50 },
  ]);
  for (let turn = 0; turn < 4; turn += 1) {
    const { status, text: said } = await post(router, `body ${turn}`);
    expect([status, said]).toEqual([200, `default /score?x=1 body ${turn}`]);
  }
  expect((await post(router, 'x', { 'azureml-model-deployment': 'gone' })).status).toBe(502);
});

test('VersionRouter hands bodies on that are larger than it keeps', async () => {
  await using own = await startVersion('default');
  await using next = await startVersion('next');
  await using router = await startRouter([
    { name: 'default', port: own.port, percent: 100 },
    { name: 'next', port: next.port, percent: 0, mirrorPercent: 100 },
  ]);
  const large = 'x'.repeat(3_000_000);
  expect((await post(router, large)).text).toBe(`default /score?x=1 ${large}`);
  const metrics = await (await fetch(`http://127.0.0.1:${router.healthPort}/metrics`)).text();
  expect(metrics).toContain('{version="next",outcome="dropped"} 1');
});

test('VersionRouter answers what is on its way when it ends, and tells clients to come back on a new connection', async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  await using own = await startVersion('default', (incoming, response) => {
    incoming.resume();
    arrive();
    void released.then(() => response.writeHead(200).end('late'));
  });
  const router = await startRouter([{ name: 'default', port: own.port, percent: 100 }]);
  const agent = new Agent({ keepAlive: true });
  const asking = request({ host: '127.0.0.1', port: router.port, path: '/score', method: 'POST', agent });
  asking.end('x');
  const answered = once(asking, 'response');
  await arrived;
  const ending = router[Symbol.asyncDispose]();
  release();
  const [response] = (await answered) as [IncomingMessage];
  expect(await text(response)).toBe('late');
  await ending;
  agent.destroy();
});

test('VersionRouter takes requests on connections that are kept until it has told their clients to leave', async () => {
  await using own = await startVersion('default');
  const router = await startRouter([{ name: 'default', port: own.port, percent: 100 }]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async (): Promise<string | undefined> => {
    const asking = request({ host: '127.0.0.1', port: router.port, path: '/score', method: 'POST', agent });
    asking.end('x');
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    await text(response);
    return response.headers.connection;
  };
  expect(await ask()).toBe('keep-alive');
  const ending = router[Symbol.asyncDispose]();
  expect(await ask()).toBe('close');
  await ending;
  agent.destroy();
});

test('readRouteSettings() names everything that is wrong', () => {
  const routes = [{ name: 'default', host: '$(DIGITS_SERVICE_HOST)', port: 80, percent: 90, mirrorPercent: 0 }];
  expect(() => readRouteSettings({ MODELFERRY_ROUTES: JSON.stringify(routes) })).toThrow(
    'the address of the version is not known',
  );
  const known = [{ ...routes[0], host: '127.0.0.1' }];
  expect(() => readRouteSettings({ MODELFERRY_ROUTES: JSON.stringify(known) })).toThrow('the shares make 90 %');
  expect(() => readRouteSettings({ MODELFERRY_ROUTES: '{' })).toThrow('it is no JSON');
});
