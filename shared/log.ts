import { type DestinationStream, type Logger as PinoLogger, pino } from 'pino';

/** A structured logger: `log.info({ device }, 'message')`. */
export type Logger = PinoLogger;

/** The settings of {@link createLogger}. */
export interface LoggerOptions {
  /** Least severe level that is written. @default 'info' */
  readonly level?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  /** `json` writes one JSON document a line; `text` one readable line. @default 'text' on a terminal, else 'json' */
  readonly format?: 'json' | 'text';
  /** Where lines go. @default standard error */
  readonly destination?: DestinationStream;
}

/** Names of fields that hold secrets wherever they appear; their values are never written. */
const secretFields = [
  'authorization',
  'connectionString',
  'key',
  'password',
  'primaryKey',
  'sasToken',
  'sasUrl',
  'secondaryKey',
  'secret',
  'sharedAccessKey',
  'token',
];

/** Makes a program's logger. Standard output is for results, so lines go to standard error. */
export function createLogger(program: string, options: LoggerOptions = {}): Logger {
  const format = options.format ?? (process.stderr.isTTY ? 'text' : 'json');
  const destination = options.destination ?? pino.destination({ dest: 2, sync: true });
  return pino(
    {
      name: program,
      level: options.level ?? 'info',
      base: { program },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: secretFields.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    },
    format === 'json' ? destination : { write: (line) => destination.write(readableLine(line)) },
  );
}

/** Turns one JSON log line into a line for people: time, level, message, then the fields. */
function readableLine(line: string): string {
  const { time, level, msg, program, err, name: _name, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const clockTime = String(time).slice(11, 23);
  const rest = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const stack = isErrorRecord(err) ? `\n  ${err.stack ?? err.message}` : '';
  return `${clockTime} ${String(level).padEnd(5)} ${String(program)}: ${String(msg)}${rest.join('')}${stack}\n`;
}

function isErrorRecord(value: unknown): value is { message: string; stack?: string } {
  return typeof value === 'object' && value !== null && 'message' in value;
}
