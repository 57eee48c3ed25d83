import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readDeviceList } from '../../../cloud/fleet/device-list.ts';
import { temporaryFolder } from '../../temporary-folder.ts';

async function read(text: string) {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'devices.csv');
  await writeFile(file, text);
  return await readDeviceList(file);
}

test('readDeviceList() reads ids and tags, nested ones and those to take away', async () => {
  expect(await read('\uFEFFdeviceId,ring,place.hall\r\ngw-1,canary,"a, b"\r\n\r\ngw-2,,3\r\n')).toEqual([
    { deviceId: 'gw-1', tags: { ring: 'canary', place: { hall: 'a, b' } } },
    { deviceId: 'gw-2', tags: { ring: null, place: { hall: '3' } } },
  ]);
});

test('readDeviceList() tells all lines that are wrong at once', async () => {
  await expect(read('deviceId,ring\ngw 1,a\ngw-2,a\ngw-2,b\n')).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
    message: expect.stringMatching(/line 2: the device id is "gw 1".*line 4: the device "gw-2" stands there twice/s),
  });
});

test.each([
  ['', 'it is empty'],
  ['ring\ncanary\n', 'no column deviceId'],
  ['deviceId,ring,ring\na,b,c\n', 'two columns'],
  ['deviceId,a-b\na,b\n', '"a-b" is no tag'],
  ['deviceId,place,place.hall\na,b,c\n', 'both a value and the beginning'],
  ['deviceId,ring\ngw-1\n', 'Cannot read the devices'],
])('readDeviceList() refuses %j', async (text, why) => {
  await expect(read(text)).rejects.toThrow(why);
});

test('readDeviceList() says when there is no such file', async () => {
  await expect(readDeviceList('/nowhere/devices.csv')).rejects.toMatchObject({ code: 'FILE_UNREADABLE' });
});
