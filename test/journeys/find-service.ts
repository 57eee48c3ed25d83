import { expect } from 'vitest';
import { documentOf, runFerry } from '../ferry.ts';

/** By what a service is to be found. */
interface FindServiceMarks {
  readonly model: string;
  /** `name:version` */
  readonly image: string;
  readonly digest: string;
  readonly target: string;
  /** `key=value` */
  readonly tag: string;
  /** `key=value` */
  readonly property: string;
}

/** Looks for the one service of a workspace by each of its marks, and by others that it does not have. It has to be Healthy. */
export async function findService(cwd: string, name: string, marks: FindServiceMarks): Promise<void> {
  const find = async (...filter: string[]): Promise<unknown> => {
    const args = ['service', 'list', ...filter, '--json'];
    return { filter, found: documentOf(await runFerry(args, { cwd }), args) };
  };
  const { model, image, digest, target, tag, property } = marks;
  const nameOf = (versioned: string): string => versioned.split(':')[0] ?? '';
  const [kind = ''] = target.split('/');
  const own: string[][] = [
    ['--model', model],
    ['--image', image],
    ['--digest', digest],
    ['--target', target],
    ['--tag', tag],
    ['--property', property],
  ];
  const broad = ['--model', nameOf(model), '--image', nameOf(image), '--target', kind];
  for (const filter of [...own, own.flat(), broad]) {
    expect(await find(...filter)).toMatchObject({ filter, found: [{ name, target, image, state: 'Healthy' }] });
  }
  const others: string[][] = [
    ['--model', `${nameOf(model)}:99`],
    ['--image', `${nameOf(image)}:99`],
    ['--digest', `sha256:${'0'.repeat(64)}`],
    ['--target', 'iotedge'],
    ['--target', `${kind}/another`],
    ['--tag', `${tag}-else`],
    ['--property', `${property}-else`],
  ];
  for (const filter of others) expect(await find(...filter)).toEqual({ filter, found: [] });
}
