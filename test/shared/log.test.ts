import { expect, test } from 'vitest';
import { createLogger } from '../../shared/log.ts';

test('createLogger() writes one JSON document a line', () => {
  const lines: string[] = [];
  createLogger('agent', { format: 'json', destination: { write: (line) => lines.push(line) } }).info(
    { device: 'd1' },
    'up',
  );
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', program: 'agent', device: 'd1', msg: 'up' });
});

test('createLogger() never writes the value of a secret', () => {
  const lines: string[] = [];
  const log = createLogger('agent', { format: 'json', destination: { write: (line) => lines.push(line) } });
  log.info({ connectionString: 'hush', options: { sasToken: 'hush' } }, 'connecting');
  expect(lines.join('')).not.toContain('hush');
});

test("createLogger() writes text lines for people, with an error's stack", () => {
  const lines: string[] = [];
  const log = createLogger('agent', { format: 'text', destination: { write: (line) => lines.push(line) } });
  log.warn({ device: 'd1', err: new Error('boom') }, 'lost the hub');
  expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}agent: lost the hub device=d1\n {2}Error: boom\n/);
});
