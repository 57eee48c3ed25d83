import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { drainBuffer } from '../../../agent/collect/uploader.ts';

// An agent without the hub: drains a buffer again and again into a folder, as storage would hold it.
const [databasePath = '', folder = ''] = process.argv.slice(2);

for (;;) {
  await drainBuffer({
    databasePath,
    seal: 'all',
    signal: AbortSignal.timeout(60_000),
    destination: {
      upload: ({ name, content }) => {
        const path = join(folder, name);
        mkdirSync(dirname(path), { recursive: true });
        if (existsSync(path) && !readFileSync(path).equals(content)) {
          process.stdout.write(`DIFFERS ${name}\n`);
          process.exit(9);
        }
        writeFileSync(`${path}.part`, content);
        renameSync(`${path}.part`, path);
        return Promise.resolve();
      },
    },
  });
  process.stdout.write('drained\n');
}
