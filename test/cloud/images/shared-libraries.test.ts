import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { findSharedLibraries, parseLdd } from '../../../cloud/images/shared-libraries.ts';

const onLinux = process.platform === 'linux';

test('parseLdd() reads libraries and the loader, and leaves the own one of the kernel out', () => {
  const output = `\tlinux-vdso.so.1 (0x00007fb569f1f000)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fb569e1f000)
\tlibstdc++.so.6 => /lib/x86_64-linux-gnu/libstdc++.so.6 (0x00007fb569c00000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007fb569f21000)
`;
  expect(parseLdd(output, 'node')).toEqual([
    '/lib/x86_64-linux-gnu/libm.so.6',
    '/lib/x86_64-linux-gnu/libstdc++.so.6',
    '/lib64/ld-linux-x86-64.so.2',
  ]);
});

test('parseLdd() names all libraries that are missing', () => {
  const output = '\tlibatomic.so.1 => not found\n\tlibx.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x0)\n';
  expect(() => parseLdd(output, '/usr/bin/node')).toThrow(
    'Cannot build a base from this machine: "/usr/bin/node" needs libatomic.so.1, libx.so, which ldd does not find',
  );
});

test.runIf(onLinux)('findSharedLibraries() finds what this Node needs', async () => {
  const libraries = await findSharedLibraries([process.execPath]);
  expect(libraries.some((path) => path.includes('libc.'))).toBe(true);
  expect(libraries.filter((path) => !existsSync(path))).toEqual([]);
});

test.runIf(onLinux)('findSharedLibraries() says which file ldd cannot read', async () => {
  await expect(findSharedLibraries(['/etc/passwd'])).rejects.toMatchObject({
    code: 'PLATFORM_UNSUPPORTED',
    message: 'Cannot find the shared libraries of "/etc/passwd": ldd failed',
  });
});
