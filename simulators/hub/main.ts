import { parseArgs } from 'node:util';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { FerryError, isFerryError, messageOf, systemCodeOf } from '../../shared/errors.ts';
import { createLogger } from '../../shared/log.ts';
import { exitCodes, runProgram } from '../../shared/process-entry.ts';
import { openCertificates } from '../certificates.ts';
import { type HubOptions, startHub } from './hub.ts';
import { standardPorts } from './listener.ts';

const usage = `Usage: node simulators/hub/main.ts --folder FOLDER [options]

Starts an IoT Hub simulator in the foreground and prints one JSON document with its endpoints.

  --folder FOLDER          where its state and certificates are kept
  --port PORT              its one TLS port (default: any free port)
  --standard-ports         listens on 443, 8883 and 5671 too
  --host ADDRESS           the address that it listens on (default: 127.0.0.1)
  --name NAME              the hub's name (default: modelferry)
  --plain-amqp-port PORT   AMQP without TLS, for Event Hubs clients
  --evaluate-every SECONDS how often deployments are evaluated (default: at every change)
  --s1-units UNITS         throttles as of so many units of tier S1 (default: none)
  --device-ca FILE         CAs (PEM) that devices' certificates may come from
`;

const ports = { min: 0, max: 65_535 } as const;

await runProgram(main);

async function main(args: readonly string[]): Promise<number> {
  const values = readArguments(args);
  if (values.help === true) {
    process.stdout.write(usage);
    return exitCodes.done;
  }
  if (values.folder === undefined) throw new FerryError('USAGE', 'Cannot start the hub: --folder is missing');
  const folder = resolve(values.folder);
  const options = await optionsOf(values);
  await using hub = await openIn(folder, async () => {
    const certificates = await openCertificates(join(folder, 'certificates'));
    return await startHub({ folder, certificates, log: createLogger('hub'), ...options });
  });
  const { hostName, port, caFile, connectionStrings, eventHubConnectionString } = hub;
  process.stdout.write(
    `${JSON.stringify({ hostName, port, caFile, connectionStrings, eventHubConnectionString }, undefined, 2)}\n`,
  );
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
  return exitCodes.done;
}

/** @throws {FerryError} FILE_UNWRITABLE when the state cannot be kept there */
async function openIn<T>(folder: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (cause) {
    const code = systemCodeOf(cause);
    if (isFerryError(cause) || code === undefined) throw cause;
    throw new FerryError(
      'FILE_UNWRITABLE',
      `Cannot keep the hub's state in "${folder}": ${code}, a folder that may be written to was wanted`,
      { cause },
    );
  }
}

type Values = ReturnType<typeof readArguments>;

function readArguments(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        folder: { type: 'string' },
        port: { type: 'string' },
        'standard-ports': { type: 'boolean' },
        host: { type: 'string' },
        name: { type: 'string' },
        'plain-amqp-port': { type: 'string' },
        'evaluate-every': { type: 'string' },
        's1-units': { type: 'string' },
        'device-ca': { type: 'string' },
        help: { type: 'boolean' },
      },
    });
    return values;
  } catch (cause) {
    throw new FerryError('USAGE', `Cannot read the arguments: ${messageOf(cause)}`);
  }
}

async function optionsOf(values: Values): Promise<Partial<HubOptions>> {
  const { host, name, 'device-ca': deviceCa } = values;
  const evaluateEvery = readNumber('--evaluate-every', values['evaluate-every'], { min: 1, max: 86_400 });
  const s1Units = readNumber('--s1-units', values['s1-units'], { min: 1, max: 200 });
  const plainAmqpPort = readNumber('--plain-amqp-port', values['plain-amqp-port'], ports);
  return {
    port: readNumber('--port', values.port, ports) ?? 0,
    ...(values['standard-ports'] === true ? { morePorts: standardPorts } : {}),
    ...(host === undefined ? {} : { host }),
    ...(name === undefined ? {} : { name: readName(name) }),
    ...(plainAmqpPort === undefined ? {} : { plainAmqpPort }),
    ...(evaluateEvery === undefined ? {} : { evaluateEveryMs: evaluateEvery * 1000 }),
    ...(s1Units === undefined ? {} : { s1Units }),
    ...(deviceCa === undefined ? {} : { deviceCaPem: await readCertificates(deviceCa) }),
  };
}

function readNumber(
  name: string,
  text: string | undefined,
  { min, max }: { readonly min: number; readonly max: number },
): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text);
  throw new FerryError('USAGE', `Cannot use ${name} "${text}": a whole number from ${min} to ${max} was wanted`);
}

/** The rule for names of hubs. @see https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules */
function readName(name: string): string {
  if (/^[A-Za-z0-9](?:[A-Za-z0-9-]{1,48})[A-Za-z0-9]$/.test(name)) return name;
  throw new FerryError('USAGE', `Cannot use --name "${name}": 3 to 50 letters, digits and hyphens were wanted`);
}

async function readCertificates(file: string): Promise<string> {
  const pem = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new FerryError('FILE_UNREADABLE', `Cannot read --device-ca "${file}": ${systemCodeOf(cause)}`, { cause });
  });
  if (pem.includes('-----BEGIN CERTIFICATE-----')) return pem;
  throw new FerryError('FILE_UNREADABLE', `Cannot use --device-ca "${file}": it holds no certificate, PEM was wanted`);
}
