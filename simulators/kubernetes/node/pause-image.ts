import { type Digest, digestOf } from '../../../shared/digest.ts';
import type { LayoutStore } from '../../../shared/oci/layout-store.ts';
import { encodeJson } from '../../../shared/oci/manifest.ts';
import { mediaTypes } from '../../../shared/oci/media-types.ts';
import { tarLayer } from '../../../shared/oci/tar-layer.ts';

/** Where the program is loaded to, and how far into the file it begins: behind the file's header and the one of its segment. */
const loadAddress = 0x40_00_00n;
const headerBytes = 64;
const segmentBytes = 56;
const codeOffset = headerBytes + segmentBytes;

/** By architecture: the number of the machine (ELF), OCI's name, and a loop around a system call that waits for a signal. */
const machines: Readonly<
  Record<string, { readonly id: number; readonly name: string; readonly code: readonly number[] }>
> = {
  // again: mov eax, 34 (pause); syscall; jmp again
  x64: { id: 0x3e, name: 'amd64', code: [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7] },
  // mov x8, 73 (ppoll); again: mov x0..x3, 0; svc 0; b again
  arm64: {
    id: 0xb7,
    name: 'arm64',
    code: [
      0xd2_80_09_28, 0xd2_80_00_00, 0xd2_80_00_01, 0xd2_80_00_02, 0xd2_80_00_03, 0xd4_00_00_01, 0x17_ff_ff_fb,
    ].flatMap((word) => [word & 0xff, (word >> 8) & 0xff, (word >> 16) & 0xff, word >>> 24]),
  },
};

/**
 * Puts the image of a program that does nothing into a layout, as the repository `pause`: what holds a pod's network while its containers come
 * and go. The program is written here, since there is none that every machine has.
 */
export async function putPauseImage(layout: LayoutStore): Promise<Digest> {
  const machine = machines[process.arch];
  if (machine === undefined) throw new Error(`There is no program that pauses for ${process.arch}`);
  const entry = { kind: 'file', path: '/pause', mode: 0o755, content: programOf(machine) } as const;
  const layer = await layout.putBlob(tarLayer([entry]));
  const config = encodeJson({
    architecture: machine.name,
    os: 'linux',
    config: { Entrypoint: ['/pause'], User: '65535:65535' },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  await layout.putBlob(config);
  const manifest = encodeJson({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: { mediaType: mediaTypes.config, digest: digestOf(config), size: config.byteLength },
    layers: [{ mediaType: mediaTypes.layer, ...layer }],
  });
  return (await layout.putManifest('pause', 'latest', manifest, mediaTypes.manifest)).digest;
}

/** Writes an executable file: the header, one segment that is the whole file, and the code. @see https://refspecs.linuxfoundation.org/elf/elf.pdf */
function programOf({ id, code }: { readonly id: number; readonly code: readonly number[] }): Uint8Array {
  const file = new DataView(new ArrayBuffer(codeOffset + code.length));
  const size = BigInt(file.byteLength);
  // 64 bits, little-endian, version 1.
  for (const [at, byte] of [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1].entries()) file.setUint8(at, byte);
  file.setUint16(16, 2, true); // executable
  file.setUint16(18, id, true);
  file.setUint32(20, 1, true);
  file.setBigUint64(24, loadAddress + BigInt(codeOffset), true); // where it begins
  file.setBigUint64(32, BigInt(headerBytes), true); // where the segments are told of
  file.setUint16(52, headerBytes, true);
  file.setUint16(54, segmentBytes, true);
  file.setUint16(56, 1, true);
  file.setUint32(headerBytes, 1, true); // to be loaded
  file.setUint32(headerBytes + 4, 5, true); // read and executed
  file.setBigUint64(headerBytes + 16, loadAddress, true);
  file.setBigUint64(headerBytes + 24, loadAddress, true);
  file.setBigUint64(headerBytes + 32, size, true);
  file.setBigUint64(headerBytes + 40, size, true);
  file.setBigUint64(headerBytes + 48, 0x1_00_00n, true); // the largest page that there is
  for (const [at, byte] of code.entries()) file.setUint8(codeOffset + at, byte);
  return new Uint8Array(file.buffer);
}
