import { expect, test } from 'vitest';
import { figuresIn } from '../../agent/scoring-watch.ts';
import { startScoring } from './scoring/scoring-rig.ts';

test('figuresIn() reads requests, errors and the p95 off what a scoring server tells', async () => {
  await using rig = await startScoring();
  for (let at = 0; at < 12; at += 1) await rig.post('/score', { pixels: [Array.from({ length: 64 }, () => at)] });
  await rig.post('/score', { pixels: 'no pixels' });
  const figures = figuresIn(await (await fetch(`${rig.url}/metrics`)).text());
  // Coarse: 13 requests are told as 10, a bad request is not the server's fault.
  expect(figures).toMatchObject({ requests: 10, errors: 0 });
  expect(figures?.p95Ms).toBeGreaterThan(0);
});

test('figuresIn() finds the bound that 95 of 100 are within, over all models, and counts 5xx', () => {
  const metrics = [
    'modelferry_requests_total{model="a",code="200"} 90',
    'modelferry_requests_total{model="b",code="500"} 7',
    'modelferry_request_seconds_bucket{model="a",le="0.001"} 90',
    'modelferry_request_seconds_bucket{model="a",le="0.01"} 90',
    'modelferry_request_seconds_bucket{model="a",le="+Inf"} 90',
    'modelferry_request_seconds_bucket{model="b",le="0.001"} 0',
    'modelferry_request_seconds_bucket{model="b",le="0.01"} 6',
    'modelferry_request_seconds_bucket{model="b",le="+Inf"} 7',
  ].join('\n');
  expect(figuresIn(metrics)).toEqual({ requests: 90, errors: 7, p95Ms: 10 });
});

test('figuresIn() gives nothing for a module that is no scoring server', () => {
  expect(figuresIn('go_goroutines 7\n')).toBeUndefined();
});
