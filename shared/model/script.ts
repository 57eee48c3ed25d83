import * as z from 'zod';
import { tensorSchema } from './signature.ts';

/** Where in an image its scoring script is, bundled into one file. An image without it serves its models as they are. */
export const scriptPath = '/app/score.mjs';

/** What a scoring script says of itself beside its functions. */
export const scriptDeclarationSchema = z
  .object({
    /** The input is tensors of these types: read, checked and described in Swagger. Else it is the JSON document of the body. */
    inputs: z.array(tensorSchema).min(1).optional(),
    /** `run` gives tensors by these names. Else it gives anything that JSON can say. */
    outputs: z.array(tensorSchema).min(1).optional(),
    /** `run` gets a request of any method, and gives status, headers and body. */
    raw: z.boolean().default(false),
  })
  .refine(({ raw, inputs }) => !raw || inputs === undefined, 'it has "inputs" and is raw, one of them was wanted');
