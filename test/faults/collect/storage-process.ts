import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { basename, join } from 'node:path';
import { buffer } from 'node:stream/consumers';

// A storage that a kill does not make forget: a blob is on the disk before it is acknowledged. What comes twice has to be the same.
const [folder = '', port = ''] = process.argv.slice(2);

mkdirSync(folder, { recursive: true });
createServer((request, response) => void store(request, response)).listen(Number(port), '127.0.0.1');

async function store(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const content = await buffer(request);
  const path = join(folder, basename(request.url ?? ''));
  if (existsSync(path) && !readFileSync(path).equals(content)) process.stdout.write(`DIFFERS ${path}\n`);
  const aside = openSync(`${path}.part`, 'w');
  writeSync(aside, content);
  fsyncSync(aside);
  closeSync(aside);
  renameSync(`${path}.part`, path);
  response.writeHead(201).end();
}
