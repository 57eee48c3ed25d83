import { expect, test } from 'vitest';
import { HubError } from '../../../../simulators/hub/hub-error.ts';
import { holds } from '../../../../simulators/hub/query/evaluate.ts';
import { parseCondition, parseQuery } from '../../../../simulators/hub/query/parser.ts';
import { runQuery } from '../../../../simulators/hub/query/run.ts';

const row = {
  deviceId: 'edge-1',
  tags: { site: 'a', floor: 3, 'with space': true, list: [1] },
  capabilities: { iotEdge: true },
  properties: { desired: { $version: 4 }, reported: { lastDesiredVersion: 4, temperature: -1.5, state: 'ok' } },
  configurations: { 'base-1': { status: 'Applied' } },
};

test.each([
  ["tags.site = 'a'", true],
  ['tags.site = "a"', true],
  ["tags.site != 'a'", false],
  ["tags.site <> 'b' AND tags.floor >= 3", true],
  ['tags.floor + 1 = 4', true],
  ['2 + 2 * 2 = 6', true],
  ['(2 + 2) * 2 = 8', true],
  ['tags.floor % 2 = 1', true],
  ['properties.reported.temperature = -1.5', true],
  ["tags.site IN ['b', 'a']", true],
  ["tags.site NIN ['b', 'a']", false],
  ['NOT capabilities.iotEdge = true', false],
  ["NOT tags.site = 'b' OR false = true", true],
  // What is undefined neither holds nor fails.
  ["tags.nothing = 'a'", false],
  ["tags.nothing != 'a'", false],
  ["NOT tags.nothing = 'a'", false],
  ['tags.nothing = null', false],
  // Only values of one kind are compared.
  ["tags.floor < '9'", false],
  ['tags.list = 1', false],
  ['IS_DEFINED(tags.site)', true],
  ['is_defined(tags.nothing)', false],
  ["STARTSWITH(deviceId, 'edge') AND ENDS_WITH(deviceId, '-1') AND CONTAINS(deviceId, 'ge')", true],
  ['IS_STRING(tags.site) AND IS_NUMBER(tags.floor) AND IS_OBJECT(tags) AND IS_PRIMITIVE(tags.site)', true],
  ["devices.deviceId = 'edge-1'", true],
  ["configurations.[[base-1]].status = 'Applied'", true],
  ['tags.[[with space]] = true', true],
  ['properties.desired.$version = properties.reported.lastDesiredVersion', true],
  [String.raw`tags.site = '\u0061'`, true],
  ['0x10 = 16', true],
  ['tags.constructor = null OR tags.__proto__ = null', false],
])('condition %s holds: %s', (condition, expected) => {
  expect(holds(parseCondition(condition).where, row)).toBe(expected);
});

test.each([
  'tags.site =',
  "tags.site = 'a",
  'tags..site = 1',
  '= 1',
  'NOSUCH(tags.site)',
  'IS_DEFINED()',
  "tags.site IN 'a'",
  '(((tags.a = 1)',
  'tags.a = 1 extra',
  `${'('.repeat(100)}true${')'.repeat(100)}`,
  'x'.repeat(40_000),
])('condition %.40s is refused, saying where', (condition) => {
  expect(() => parseCondition(condition)).toThrow(HubError);
});

test.each([
  'SELECT',
  'SELECT * FROM nowhere',
  'SELECT TOP x * FROM devices',
  'SELECT * FROM devices WHERE',
  'SELECT * FROM devices GROUP BY',
])('query %s is refused', (query) => {
  expect(() => parseQuery(query)).toThrow(HubError);
});

const rows = ['d', 'b', 'a', 'c'].map((id, index) => ({
  key: id,
  row: { deviceId: id, tags: { size: index, site: index < 2 ? 'x' : 'y' } },
}));

test('runQuery() gives pages by key, so that what is added in between neither repeats nor hides others', () => {
  const query = parseQuery('SELECT deviceId FROM devices');
  const first = runQuery(query, rows, { size: 2, from: undefined });
  expect(first.rows).toEqual([{ deviceId: 'a' }, { deviceId: 'b' }]);
  const more = [...rows, { key: 'aa', row: { deviceId: 'aa' } }];
  const second = runQuery(query, more, { size: 2, from: first.next });
  expect(second).toEqual({ rows: [{ deviceId: 'c' }, { deviceId: 'd' }], next: undefined });
});

test('runQuery() counts TOP over all pages', () => {
  const query = parseQuery('SELECT TOP 3 deviceId FROM devices');
  const first = runQuery(query, rows, { size: 2, from: undefined });
  const second = runQuery(query, rows, { size: 2, from: first.next });
  expect([first.rows.length, second.rows.length, second.next]).toEqual([2, 1, undefined]);
});

test('runQuery() aggregates all rows, or those of each group', () => {
  const page = { size: 100, from: undefined };
  const all = parseQuery(
    'SELECT COUNT() AS n, SUM(tags.size) AS s, AVG(tags.size) AS a, MIN(tags.size) AS l, MAX(tags.size) AS m FROM devices',
  );
  expect(runQuery(all, rows, page).rows).toEqual([{ n: 4, s: 6, a: 1.5, l: 0, m: 3 }]);
  expect(runQuery(all, [], page).rows).toEqual([{ n: 0 }]);
  const grouped = parseQuery('SELECT tags.site, COUNT() AS n FROM devices GROUP BY tags.site');
  expect(runQuery(grouped, rows, page).rows).toEqual([
    { site: 'x', n: 2 },
    { site: 'y', n: 2 },
  ]);
});
