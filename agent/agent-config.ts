import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { engineChoices } from '../shared/containers/open-engine.ts';
import { parseDeviceConnectionString } from '../shared/edge/connection-string.ts';
import { FerryError, isFerryError, messageOf } from '../shared/errors.ts';
import type { DeviceCertificate } from './hub/device-identity.ts';
import { bytesPerSecondMin } from './images/bandwidth-limit.ts';

/** Longest time between two uploads, in seconds: a day. */
const uploadEverySecondsMax = 86_400;

const absolutePath = z.string().refine(isAbsolute, 'an absolute path was wanted');

const proxyText = z
  .string()
  .refine(
    (text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ''),
    'the address of a proxy was wanted, as "http://proxy:3128"',
  );

const configSchema = z
  .strictObject({
    connectionString: z.string().superRefine((text, context) => {
      try {
        parseDeviceConnectionString(text);
      } catch (error) {
        if (!isFerryError(error)) throw error;
        context.addIssue({ code: 'custom', message: error.message });
      }
    }),
    stateFolder: absolutePath.default('/var/lib/modelferry'),
    engine: z.enum(engineChoices).default('auto'),
    keepModules: z.boolean().default(false),
    uploadEverySeconds: z.number().positive().max(uploadEverySecondsMax).default(60),
    /** Where health and metrics are served, as `127.0.0.1:9600`. */
    metrics: z
      .string()
      .refine((text) => parseAddress(text) !== undefined, 'an address and a port were wanted, as "127.0.0.1:9600"')
      .optional(),
    /** What all pulls together may take of the link. @default all of it */
    pullBytesPerSecond: z.number().min(bytesPerSecondMin).optional(),
    /** PEM files of the certificate that the device signs in with, and of its private key, where the connection string says `x509=true`. */
    certificate: absolutePath.optional(),
    certificateKey: absolutePath.optional(),
    /** What HTTPS goes through, and hosts that it does not. @default what `HTTPS_PROXY` and `NO_PROXY` say */
    proxy: proxyText.optional(),
    proxyExcept: z.string().optional(),
    /** PEM file of a certificate authority to trust beside the known ones. */
    ca: absolutePath.optional(),
    logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  })
  .superRefine(({ connectionString, certificate, certificateKey }, context) => {
    const hasKey = !/(^|;)\s*x509\s*=\s*true\s*(;|$)/i.test(connectionString);
    if (
      hasKey
        ? certificate === undefined && certificateKey === undefined
        : certificate !== undefined && certificateKey !== undefined
    )
      return;
    const message =
      'certificate and certificateKey are wanted together, with a connection string that says "x509=true"';
    context.addIssue({ code: 'custom', message });
  });

/** All that an agent on a device is told by whoever installs it. Holds the device's key. */
export type AgentConfig = z.output<typeof configSchema>;

/** The same with what may be left out left out. */
export type AgentConfigInput = z.input<typeof configSchema>;

/**
 * Checks what an agent is told, and fills in what was left out.
 * @param from what it was read from, for the message
 * @throws {FerryError} CONFIG_INVALID naming everything that is wrong, without the key
 */
export function parseConfig(value: unknown, from: string): AgentConfig {
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '));
  throw new FerryError('CONFIG_INVALID', `Cannot use ${from}: ${problems.join('; ')}`);
}

/**
 * Reads the agent's file.
 * @throws {FerryError} FILE_UNREADABLE, CONFIG_INVALID
 */
export async function readConfig(path: string): Promise<AgentConfig> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new FerryError('FILE_UNREADABLE', `Cannot read the agent's settings from "${path}"`, { cause });
  }
  try {
    // The parser's message would quote the line that is wrong, and that may be the key's.
    return parseConfig(parse(text, { prettyErrors: false, logLevel: 'silent' }), `"${path}"`);
  } catch (error) {
    if (isFerryError(error)) throw error;
    throw new FerryError('CONFIG_INVALID', `Cannot use "${path}": it is no YAML, ${messageOf(error)}`);
  }
}

/** Writes the agent's file, as {@link readConfig} reads it. The text holds the device's key. */
export function configText(config: AgentConfig): string {
  return `# Written by "ferry agent install". Holds the key of this device.\n${stringify(config, { lineWidth: 0 })}`;
}

/** Reads an address with its port, as `127.0.0.1:9600` or `[::1]:9600`; nothing when it is none. */
export function parseAddress(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, host = '', port = ''] = /^\[?([^\]]*)\]?:(\d{1,5})$/.exec(text) ?? [];
  return isIP(host) !== 0 && Number(port) <= 65_535 ? { host, port: Number(port) } : undefined;
}

/**
 * Reads the certificate that the device signs in with, if that is how it does.
 * @throws {FerryError} FILE_UNREADABLE
 */
export async function readCertificate({
  certificate,
  certificateKey,
}: Pick<AgentConfig, 'certificate' | 'certificateKey'>): Promise<DeviceCertificate | undefined> {
  if (certificate === undefined || certificateKey === undefined) return undefined;
  try {
    const [cert, key] = await Promise.all([readFile(certificate, 'utf8'), readFile(certificateKey, 'utf8')]);
    // A key of another certificate is not found out by the hub, which only sees that there is no certificate.
    if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return { cert, key };
  } catch (cause) {
    throw new FerryError(
      'FILE_UNREADABLE',
      `Cannot read the device's certificate from "${certificate}" and its key from "${certificateKey}"`,
      { cause },
    );
  }
  throw new FerryError(
    'CONFIG_INVALID',
    `Cannot use "${certificate}": the key in "${certificateKey}" is not that of the certificate`,
  );
}
