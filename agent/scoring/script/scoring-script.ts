import { pathToFileURL } from 'node:url';
import * as z from 'zod';
import { FerryError } from '../../../shared/errors.ts';
import { scriptDeclarationSchema } from '../../../shared/model/script.ts';
import type { Signature } from '../../../shared/model/signature.ts';
import type { Designation } from '../../collect/stream.ts';
import type { Tensor, TensorData } from '../../collect/tensor.ts';

/** Values of a tensor, row-major, as a script gets and gives them. */
export interface ScriptTensor {
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** A model of the image, to be run by a script. */
export interface ScriptModel {
  readonly version: number;
  /** File of the model. */
  readonly path: string;
  readonly signature: Signature;
  /** Runs it; one tensor an input, one an output, by name. */
  run(inputs: Readonly<Record<string, ScriptTensor>>): Promise<Record<string, ScriptTensor>>;
}

/** What `init` gets. */
export interface InitContext {
  /** The models of the image; of several versions the highest. */
  readonly models: Readonly<Record<string, ScriptModel>>;
}

/** A binary value that a script collects, such as an image: the request is one row then. */
export interface ScriptPayload {
  /** MIME type, kept as it is. */
  readonly contentType: string;
  readonly content: Uint8Array;
}

/** What `run` gets beside its input. */
export interface RunContext extends InitContext {
  readonly requestId: string;
  /** Of the request, in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Aborted when the request's time is over. */
  readonly signal: AbortSignal;
  /** Milliseconds that are left for the request. */
  readonly timeLeftMs: number;
  /**
   * Collects rows; they come into the file of their designation. Payloads stand in their row, or beside it where they are large.
   * @returns the correlation id of the rows: the one given, or a new one
   */
  collect(
    designation: Designation,
    values: Readonly<Record<string, (ScriptTensor & Pick<Tensor, 'type'>) | ScriptPayload>>,
    options?: { readonly correlationId?: string },
  ): string;
}

/** A request as it came, for a script that says `raw`. */
export interface RawRequest {
  readonly method: string;
  /** Behind the `?`, or empty. */
  readonly query: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

const functionsSchema = z.object({
  init: z.custom<(context: InitContext) => unknown>(isFunction, '"init" is no function').optional(),
  run: z.custom<(input: unknown, context: RunContext) => unknown>(isFunction, '"run" is no function'),
});
const scriptSchema = functionsSchema.and(scriptDeclarationSchema);

/** A script as it exports itself. */
export type ScoringScript = z.infer<typeof scriptSchema>;

/**
 * Loads a script.
 * @throws {FerryError} IMAGE_INVALID when it cannot be loaded, or does not export what a script must
 */
export async function loadScript(path: string): Promise<ScoringScript> {
  // What it throws then names the lines of the files that it was bundled from.
  process.setSourceMapsEnabled(true);
  let exported: unknown;
  try {
    exported = await import(pathToFileURL(path).href);
  } catch (cause) {
    throw new FerryError('IMAGE_INVALID', `Cannot load the scoring script "${path}"`, { cause });
  }
  const parsed = scriptSchema.safeParse({ ...(exported as object) });
  if (!parsed.success) {
    const found = parsed.error.issues.map(({ message }) => message).join('; ');
    throw new FerryError('IMAGE_INVALID', `Cannot use the scoring script "${path}": ${found}`);
  }
  return parsed.data;
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function';
}
