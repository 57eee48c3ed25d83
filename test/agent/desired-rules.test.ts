import { expect, test } from 'vitest';
import { readDesired } from '../../agent/desired-state.ts';

type Fields = Readonly<Record<string, unknown>>;

const settings = { image: 'registry.example/m:1' };
const whole = {
  schemaVersion: '1.1',
  runtime: { type: 'docker', settings: {} },
  systemModules: {
    edgeAgent: { type: 'docker', settings: { image: 'mcr.microsoft.com/azureiotedge-agent:1.5' } },
    edgeHub: { type: 'docker', settings: { image: 'mcr.microsoft.com/azureiotedge-hub:1.5' } },
  },
  modules: { m: { type: 'docker', settings } },
  $version: 3,
};

const top = (fields: Fields): Fields => ({ ...whole, ...fields });
const runtime = (fields: Fields): Fields => top({ runtime: { ...whole.runtime, ...fields } });
const credentials = (registryCredentials: Fields): Fields => runtime({ settings: { registryCredentials } });
const system = (name: 'edgeAgent' | 'edgeHub', fields: Fields): Fields =>
  top({ systemModules: { ...whole.systemModules, [name]: { ...whole.systemModules[name], ...fields } } });
const module = (fields: Fields): Fields => top({ modules: { m: { ...whole.modules.m, ...fields } } });
const named = (name: string): Fields => top({ modules: { [name]: whole.modules.m } });
const image = (text: unknown): Fields => module({ settings: { image: text } });
const options = (fields: Fields): Fields => module({ settings: { ...settings, ...fields } });
const env = (fields: Fields): Fields => module({ env: fields });
const login = { username: 'u', password: 'p', address: 'registry.example' };

/** What IoT Edge's schema and its agent take and refuse, with the code that is reported; a text is what the description has to name. */
const rules: readonly [rule: string, desired: unknown, code: number, names?: string][] = [
  ['no properties', { $version: 3 }, 417, 'empty configuration'],
  ['no properties but the metadata of the hub', { $version: 3, $metadata: { $lastUpdated: '' } }, 417],
  ['no object', 'text', 400, 'no JSON object'],
  ['no schema version', { ...whole, schemaVersion: undefined }, 400, 'schemaVersion'],
  ['a schema version that is a number', top({ schemaVersion: 1.1 }), 400, 'schemaVersion'],
  ['schema version 1.0', top({ schemaVersion: '1.0' }), 200],
  ['schema version 1.0.0', top({ schemaVersion: '1.0.0' }), 200],
  ['schema version 1.0.7, which is before 1.1', top({ schemaVersion: '1.0.7' }), 200],
  ['schema version 1.1', whole, 200],
  ['schema version 1.1.0', top({ schemaVersion: '1.1.0' }), 200],
  ['schema version 1.1.1, which is after 1.1', top({ schemaVersion: '1.1.1' }), 412, '1.1.1'],
  ['schema version 1.2', top({ schemaVersion: '1.2' }), 412, '1.2'],
  ['schema version 2.0', top({ schemaVersion: '2.0' }), 412, '2.0'],
  ['schema version 0.9', top({ schemaVersion: '0.9' }), 412, '0.9'],
  ['schema version 1, without a second number', top({ schemaVersion: '1' }), 412],
  ['a schema version that is a word', top({ schemaVersion: 'one' }), 412, 'one'],
  ['an unsupported version, whatever else is wrong', { schemaVersion: '9.0', modules: 5 }, 412],

  ['no runtime', { ...whole, runtime: undefined }, 400, 'runtime'],
  ['a runtime of another type', runtime({ type: 'podman' }), 400, 'runtime.type'],
  ['a runtime without settings', top({ runtime: { type: 'docker' } }), 200],
  ['logging options', runtime({ settings: { minDockerVersion: 'v1.25', loggingOptions: '' } }), 200],
  ['credentials of a registry', credentials({ acr: login }), 200],
  ['credentials under a name with a dot', credentials({ 'a.b': login }), 400, 'registryCredentials'],
  ['credentials under a name with $', credentials({ $a: login }), 400, 'registryCredentials'],
  ['credentials for an address with a space', credentials({ a: { ...login, address: 'a b' } }), 400, 'address'],
  ['credentials without a password', credentials({ a: { username: 'u', address: 'a' } }), 400, 'password'],

  ['no system modules', { ...whole, systemModules: undefined }, 400, 'systemModules'],
  ['no edgeHub', top({ systemModules: { edgeAgent: whole.systemModules.edgeAgent } }), 400, 'edgeHub'],
  ['no edgeAgent', top({ systemModules: { edgeHub: whole.systemModules.edgeHub } }), 400, 'edgeAgent'],
  ['an edgeAgent without an image', system('edgeAgent', { settings: {} }), 400, 'edgeAgent.settings.image'],
  ['an edgeAgent of another type', system('edgeAgent', { type: 'vm' }), 400, 'edgeAgent.type'],
  ['an edgeAgent with an environment', system('edgeAgent', { env: { A: { value: 'b' } } }), 200],
  ['an edgeHub that is to be stopped', system('edgeHub', { status: 'stopped' }), 200],
  ['an edgeHub with a policy and an order', system('edgeHub', { restartPolicy: 'never', startupOrder: 0 }), 200],
  ['an edgeHub with a policy that is none', system('edgeHub', { restartPolicy: 'sometimes' }), 400, 'restartPolicy'],

  ['no modules', { ...whole, modules: undefined }, 200],
  ['modules that are a list', top({ modules: [] }), 400, 'modules'],
  ['a module name of letters, digits, _ and -', named('A_b-9'), 200],
  ['a module name with a dot', named('a.b'), 400, 'a.b'],
  ['a module name with a space', named('a b'), 400, 'a b'],
  ['an empty module name', named(''), 400, 'modules'],
  ['a module of another type', module({ type: 'process' }), 400, 'modules.m.type'],
  ['a module without settings', module({ settings: undefined }), 400, 'modules.m.settings'],
  ['a version', module({ version: '1.0' }), 200],
  ['a version that is a number', module({ version: 1 }), 400, 'version'],
  ['status running', module({ status: 'running' }), 200],
  ['status stopped', module({ status: 'stopped' }), 200],
  ['another status', module({ status: 'paused' }), 400, 'status'],
  ...['never', 'on-failure', 'on-unhealthy', 'always'].map((restartPolicy): [string, unknown, number] => [
    `restart policy ${restartPolicy}`,
    module({ restartPolicy }),
    200,
  ]),
  ['another restart policy', module({ restartPolicy: 'unless-stopped' }), 400, 'restartPolicy'],
  ['image pull policy on-create', module({ imagePullPolicy: 'on-create' }), 200],
  ['image pull policy never', module({ imagePullPolicy: 'never' }), 200],
  ['another image pull policy', module({ imagePullPolicy: 'always' }), 400, 'imagePullPolicy'],
  ['startup order 0', module({ startupOrder: 0 }), 200],
  ['the last startup order', module({ startupOrder: 4_294_967_295 }), 200],
  ['a startup order after the last', module({ startupOrder: 4_294_967_296 }), 400, 'startupOrder'],
  ['a negative startup order', module({ startupOrder: -1 }), 400, 'startupOrder'],
  ['half a startup order', module({ startupOrder: 0.5 }), 400, 'startupOrder'],
  [
    'an environment of a text, a number and a truth',
    env({ A: { value: 'a' }, B: { value: 1 }, C: { value: true } }),
    200,
  ],
  ['an environment value that is an object', env({ A: { value: {} } }), 400, 'env.A'],
  ['an environment value that is not in an object', env({ A: 'a' }), 400, 'env.A'],
  ...['a.b', 'a b', 'a+b', 'a#b', '$a'].map((name): [string, unknown, number, string] => [
    `an environment name "${name}"`,
    env({ [name]: { value: '' } }),
    400,
    'env',
  ]),

  ['an image without a tag', image('registry.example:5000/a/b'), 200],
  ['an image of a parent', image('$upstream:443/m:1'), 200],
  ['no image', image(undefined), 400, 'image'],
  ['an empty image', image(''), 400, 'image'],
  ['an image that ends with a slash', image('registry.example/'), 400, 'image'],
  ['an image with two tags', image('m:1:2'), 400, 'image'],
  ['empty createOptions', options({ createOptions: '' }), 200],
  ['createOptions "null"', options({ createOptions: 'null' }), 200],
  [
    'createOptions in pieces',
    options({ createOptions: '{"Env":', createOptions01: '["A=b"]', createOptions02: '}' }),
    200,
  ],
  ['createOptions in pieces of any case', options({ CreateOptions: '{"Env":', createoptions01: '[]}' }), 200],
  [
    'createOptions of which a piece is missing',
    options({ createOptions: '{"Env":', createOptions02: '[]}' }),
    400,
    'createOptions',
  ],
  ['createOptions in a piece 100', options({ createOptions: '{}', createOptions100: '' }), 200],
  ['createOptions that are no JSON', options({ createOptions: '{' }), 400, 'createOptions'],
  ['createOptions that are an object', options({ createOptions: {} }), 400, 'createOptions'],
  ['createOptions that Docker would refuse', options({ createOptions: '{"Env":"A=b"}' }), 400, 'createOptions'],
];

test.each(rules)('readDesired() says the code of IoT Edge to %s', (_, desired, code, names = '') => {
  const reading = readDesired(desired);
  expect(reading.code).toBe(code);
  if (reading.code === 200) return;
  expect(reading.description).toContain(names);
  expect(reading.version).toBe(typeof desired === 'string' ? 0 : 3 * Number('$version' in (desired as Fields)));
});

test('readDesired() joins createOptions of 100 pieces, and fills in the defaults of IoT Edge', () => {
  const Env = Array.from({ length: 100 }, (_, index) => `V${index}=${'x'.repeat(490)}`);
  const text = JSON.stringify({ Env });
  const pieces = Array.from({ length: 100 }, (_, index) => [
    index === 0 ? 'createOptions' : `createOptions${String(index).padStart(2, '0')}`,
    text.slice(index * 512, (index + 1) * 512),
  ]);
  const reading = readDesired(options(Object.fromEntries(pieces) as Fields));
  expect(reading).toMatchObject({
    code: 200,
    state: {
      modules: [
        {
          name: 'm',
          createOptions: { Env },
          status: 'running',
          restartPolicy: 'on-unhealthy',
          imagePullPolicy: 'on-create',
          startupOrder: 4_294_967_295,
        },
      ],
    },
  });
});
