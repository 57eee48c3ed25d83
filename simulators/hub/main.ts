import { parseArgs } from 'node:util';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FerryError, isFerryError, messageOf } from '../../shared/errors.ts';
import { createLogger } from '../../shared/log.ts';
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
  --device-ca FILE         CAs (PEM) that devices' certificates may come from
`;

try {
  await main();
} catch (error) {
  process.stderr.write(`error ${isFerryError(error) ? error.code : 'INTERNAL'}: ${messageOf(error)}\n`);
  process.exitCode = isFerryError(error, 'USAGE') ? 2 : 1;
}

async function main(): Promise<void> {
  const values = readArguments();
  if (values.help === true) {
    process.stdout.write(usage);
    return;
  }
  if (values.folder === undefined) throw new FerryError('USAGE', 'Cannot start the hub: --folder is missing');
  const certificates = await openCertificates(join(values.folder, 'certificates'));
  await using hub = await startHub({
    folder: values.folder,
    certificates,
    log: createLogger('hub'),
    ...(await optionsOf(values)),
  });
  const { hostName, port, connectionStrings, eventHubConnectionString } = hub;
  const { caFile } = certificates;
  process.stdout.write(
    `${JSON.stringify({ hostName, port, caFile, connectionStrings, eventHubConnectionString }, undefined, 2)}\n`,
  );
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}

type Values = ReturnType<typeof readArguments>;

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        folder: { type: 'string' },
        port: { type: 'string' },
        'standard-ports': { type: 'boolean' },
        host: { type: 'string' },
        name: { type: 'string' },
        'plain-amqp-port': { type: 'string' },
        'evaluate-every': { type: 'string' },
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
  const evaluateEvery = readNumber('--evaluate-every', values['evaluate-every'], 86_400);
  const plainAmqpPort = readNumber('--plain-amqp-port', values['plain-amqp-port'], 65_535);
  return {
    port: readNumber('--port', values.port, 65_535) ?? 0,
    ...(values['standard-ports'] === true ? { morePorts: standardPorts } : {}),
    ...(host === undefined ? {} : { host }),
    ...(name === undefined ? {} : { name }),
    ...(plainAmqpPort === undefined ? {} : { plainAmqpPort }),
    ...(evaluateEvery === undefined ? {} : { evaluateEveryMs: evaluateEvery * 1000 }),
    ...(deviceCa === undefined ? {} : { deviceCaPem: await readFile(deviceCa, 'utf8') }),
  };
}

function readNumber(name: string, text: string | undefined, max: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text) && Number(text) <= max) return Number(text);
  throw new FerryError('USAGE', `Cannot use ${name} "${text}": a whole number from 0 to ${max} was wanted`);
}
