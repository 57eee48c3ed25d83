import { expect, test } from 'vitest';
import { readDigits, startScoring } from './scoring-rig.ts';

test('errors of every kind are JSON with a message, ids and the flag that says whether the model failed', async () => {
  await using rig = await startScoring();
  const ids = { 'x-request-id': 'r-1', 'x-ms-client-request-id': 'c-1', traceid: 't-1' };
  const cases = [
    ['POST', '/score', '{', 400],
    ['PUT', '/score', '', 405],
    ['POST', '/swagger.json', '', 405],
    ['GET', '/swagger.json?version=7', undefined, 404],
    ['GET', '/nothing', undefined, 404],
  ] as const;
  for (const [method, path, body, status] of cases) {
    const answer = await rig.fetch(path, { method, headers: ids, ...(body === undefined ? {} : { body }) });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/json']);
    expect(await answer.json()).toEqual({ message: expect.any(String) as string });
    expect(answer.headers.get('x-request-id')).toBe('r-1');
    expect(answer.headers.get('x-ms-client-request-id')).toBe('c-1');
    expect(answer.headers.get('traceid')).toBe('t-1');
    expect(answer.headers.get('x-ms-server-version')).toMatch(/^modelferry\//);
    expect(answer.headers.get('x-ms-run-function-failed')).toBe('False');
  }
});

test('errors below /v2 are the protocol’s', async () => {
  await using rig = await startScoring();
  const cases = [
    ['GET', '/v2/models/digits/infer', 405],
    ['POST', '/v2/models/digits', 405],
    ['POST', '/v2/models/none/infer', 404],
    ['GET', '/v2/models/digits/versions/1/what', 404],
    ['GET', '/v2/health/ill', 404],
    ['GET', '/v2/what', 404],
    ['POST', '/v2/models/digits/infer', 400],
  ] as const;
  for (const [method, path, status] of cases) {
    const answer = await rig.fetch(path, { method });
    expect([answer.status, await answer.json()]).toEqual([status, { error: expect.any(String) as string }]);
  }
  for (const path of ['/v2', '/v2/', '/v2/models/digits/', '/v2/models/digits/versions/2/ready'])
    expect([path, (await rig.fetch(path)).status]).toEqual([path, 200]);
});

test('a body that says it is no JSON is 415, what tools call text by themselves passes', async () => {
  await using rig = await startScoring();
  const { pixels } = await readDigits();
  const post = async (type: string): Promise<number> =>
    (await rig.post('/score', { pixels: [pixels[0]] }, { 'content-type': type })).status;
  for (const type of ['application/json', 'application/json; charset=utf-8', 'application/problem+json'])
    expect(await post(type)).toBe(200);
  for (const type of ['text/plain;charset=UTF-8', 'application/x-www-form-urlencoded'])
    expect(await post(type)).toBe(200);
  for (const type of ['image/png', 'application/xml', 'application/jsonx', 'multipart/form-data; boundary=x'])
    expect(await post(type)).toBe(415);
});

test('HEAD is answered like GET, without the body', async () => {
  await using rig = await startScoring();
  for (const path of ['/', '/swagger.json', '/v2/health/ready', '/v2/models/digits']) {
    const [get, head] = [await rig.fetch(path), await rig.fetch(path, { method: 'HEAD' })];
    expect([head.status, await head.text()]).toEqual([200, '']);
    expect(head.headers.get('content-length')).toBe(get.headers.get('content-length'));
  }
});

test('with a prefix, all paths lie behind it; health and metrics are there without it as well', async () => {
  await using rig = await startScoring({ environment: { SERVICE_PATH_PREFIX: 'team/svc/' } });
  const { pixels } = await readDigits();
  const status = async (path: string): Promise<number> => (await rig.fetch(path)).status;
  expect(await (await rig.post('/team/svc/score', { pixels: [pixels[0]] })).json()).toMatchObject({ label: [9] });
  for (const path of ['', '/', '/swagger.json', '/v2', '/v2/health/live', '/metrics'])
    expect([path, await status(`/team/svc${path}`)]).toEqual([path, 200]);
  for (const path of ['/', '/v2/health/live', '/metrics']) expect([path, await status(path)]).toEqual([path, 200]);
  for (const path of ['/score', '/swagger.json', '/v2', '/team/svcx/score', '/team'])
    expect([path, await status(path)]).toEqual([path, 404]);
  const { paths } = (await (await rig.fetch('/team/svc/swagger.json')).json()) as { paths: object };
  expect(Object.keys(paths)).toEqual(['/team/svc/', '/team/svc/score', '/team/svc/swagger.json']);
});

test('pages of an allowed origin may read answers and errors, and ask before they do', async () => {
  const environment = { AML_CORS_ORIGINS: 'https://a.example, https://c.example' };
  await using rig = await startScoring({ environment });
  const { pixels } = await readDigits();
  const origin = { origin: 'https://a.example' };
  for (const body of [{ pixels: [pixels[0]] }, 'no']) {
    const { headers } = await rig.post('/score', body, origin);
    expect(headers.get('access-control-allow-origin')).toBe('https://a.example');
    expect(headers.get('access-control-expose-headers')).toContain('x-ms-run-function-failed');
    expect(headers.get('vary')).toBe('origin');
  }
  const ask = (path: string, from: string): Promise<Response> =>
    rig.fetch(path, {
      method: 'OPTIONS',
      headers: {
        origin: from,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
    });
  for (const path of ['/score', '/v2/models/digits/infer']) {
    const asked = await ask(path, 'https://c.example');
    expect([asked.status, asked.headers.get('access-control-allow-headers')]).toEqual([200, 'authorization']);
    expect(asked.headers.get('access-control-allow-methods')).toContain('POST');
  }
  const stranger = await rig.post('/score', {}, { origin: 'https://b.example' });
  expect(stranger.headers.get('access-control-allow-origin')).toBeNull();
  expect(stranger.headers.get('vary')).toBe('origin');
});

/** Collects what every `$ref` names. */
function referencesIn(node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return [];
  return Object.entries(node).flatMap(([key, value]) => (key === '$ref' ? [String(value)] : referencesIn(value)));
}

function at(document: unknown, reference: string): unknown {
  return reference
    .slice(2)
    .split('/')
    .reduce<unknown>((node, part) => (node as Record<string, unknown> | undefined)?.[part], document);
}

test.each(['2', '3', '3.1'])('the Swagger document of version %s is whole, and its example scores', async (version) => {
  await using rig = await startScoring({ environment: { SERVICE_NAME: 'svc', SERVICE_VERSION: '7' } });
  const document = (await (await rig.fetch(`/swagger.json?version=${version}`)).json()) as {
    swagger?: string;
    openapi?: string;
    info: object;
    paths: Record<string, Record<string, Record<string, unknown>>>;
  };
  expect(document.info).toEqual({ title: 'svc', version: '7' });
  expect(document.swagger ?? document.openapi).toMatch(version === '2' ? /^2\.0$/ : new RegExp(`^${version}`));
  const references = referencesIn(document);
  expect(references.length).toBeGreaterThan(3);
  expect(references.filter((reference) => at(document, reference) === undefined)).toEqual([]);
  // OpenAPI: every operation has an id of its own and responses, each response a description.
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  const ids = operations.map(({ operationId }) => operationId);
  expect(new Set(ids)).toEqual(new Set(['ServiceHealthCheck', 'RunMLService', 'GetSwaggerSpec']));
  for (const { responses } of operations) {
    for (const response of Object.values(responses as object)) expect(response).toHaveProperty('description');
  }
  const schemas = at(document, version === '2' ? '#/definitions' : '#/components/schemas') as Record<
    string,
    { required?: string[]; properties?: object; example?: object }
  >;
  for (const { required = [], properties = {} } of Object.values(schemas))
    expect(Object.keys(properties)).toEqual(required);
  expect(Object.keys(schemas)).toEqual(['ServiceInput', 'ServiceOutput', 'ErrorResponse']);
  const answer = await rig.post('/score', schemas['ServiceInput']?.example);
  expect([answer.status, Object.keys((await answer.json()) as object)]).toEqual([
    200,
    schemas['ServiceOutput']?.required,
  ]);
});
