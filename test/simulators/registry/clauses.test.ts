import { expect, test } from 'vitest';
import { digestOf } from '../../../shared/digest.ts';
import { manifestType, startRig } from './rig.ts';

test('a manifest may come before its subject, and the answer says that it is listed', async () => {
  await using rig = await startRig();
  const digest = await rig.pushBlob('digits', '{}');
  const subject = { mediaType: manifestType, digest: digestOf('still to come'), size: 13 };
  const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest, size: 2 };
  const manifest = {
    schemaVersion: 2,
    mediaType: manifestType,
    artifactType: 'text/note',
    config,
    layers: [config],
    subject,
  };
  const body = JSON.stringify(manifest);
  const headers = { 'content-type': manifestType };
  const put = await rig.ask('PUT', `digits/manifests/${digestOf(body)}`, { headers, body });
  expect([put.status, put.headers.get('oci-subject')]).toEqual([201, subject.digest]);
  const { manifests } = (await (await rig.ask('GET', `digits/referrers/${subject.digest}`)).json()) as {
    manifests: unknown[];
  };
  expect(manifests).toMatchObject([{ digest: digestOf(body), artifactType: 'text/note' }]);
  const plain = await rig.pushImage('digits', '1', 'weights');
  expect((await rig.ask('GET', `digits/referrers/${plain}`)).status).toBe(200);
});

test('a page of no tags is empty and has no link', async () => {
  await using rig = await startRig();
  await rig.pushImage('digits', '1', 'weights');
  const response = await rig.ask('GET', 'digits/tags/list?n=0');
  expect(await response.json()).toEqual({ name: 'digits', tags: [] });
  expect(response.headers.get('link')).toBeNull();
});

test('a mount that names no repository begins an upload, which can be ended', async () => {
  await using rig = await startRig();
  const digest = await rig.pushBlob('digits', 'weights');
  const begun = await rig.ask('POST', `other/blobs/uploads/?mount=${digest}`);
  expect(begun.status).toBe(202);
  const location = (begun.headers.get('location') ?? '').replace('/v2/', '');
  expect((await rig.ask('PUT', `${location}?digest=${digest}`, { body: 'weights' })).status).toBe(201);
  expect((await rig.ask('HEAD', `other/blobs/${digest}`)).headers.get('content-length')).toBe('7');
});

test('an upload says how far it is in every answer', async () => {
  await using rig = await startRig();
  const begun = await rig.ask('POST', 'digits/blobs/uploads/');
  const path = (begun.headers.get('location') ?? '').replace('/v2/', '');
  const sent = await rig.ask('PATCH', path, { body: 'weights', headers: { 'content-range': '0-6' } });
  expect([sent.status, sent.headers.get('range')]).toEqual([202, '0-6']);
  const asked = await rig.ask('GET', path);
  expect([asked.status, asked.headers.get('range'), asked.headers.get('location')]).toEqual([
    204,
    '0-6',
    begun.headers.get('location'),
  ]);
});

test('a manifest is read by its tag or digest, with its type, length and digest', async () => {
  await using rig = await startRig();
  const digest = await rig.pushImage('digits', '1', 'weights');
  for (const reference of ['1', digest]) {
    const response = await rig.ask('GET', `digits/manifests/${reference}`);
    const body = await response.text();
    expect(digestOf(body)).toBe(digest);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': manifestType,
      'content-length': String(body.length),
      'docker-content-digest': digest,
    });
  }
});
