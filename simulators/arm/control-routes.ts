import { ArmError } from './arm-error.ts';
import { type Faults, faultChangeSchema } from './faults.ts';
import type { ArmAnswer, ArmRequest } from './route.ts';
import { federatedCredentialsSchema, type StateFile } from './state.ts';

/**
 * Answers the simulator's own control interface, which no fault touches: `GET`, `PATCH` and `DELETE` of `/_sim/faults`, and `GET` and `PUT` of
 * `/_sim/federated-credentials`. Gives `undefined` for every other path.
 */
export async function answerControl(
  { method, url, body }: Omit<ArmRequest, 'parameters'>,
  { faults, file }: { readonly faults: Faults; readonly file: StateFile },
): Promise<ArmAnswer | undefined> {
  if (!url.pathname.startsWith('/_sim/')) return undefined;
  switch (`${method} ${url.pathname}`) {
    case 'GET /_sim/faults':
      break;
    case 'PATCH /_sim/faults':
      faults.change(parse(faultChangeSchema.safeParse(body)));
      break;
    case 'DELETE /_sim/faults':
      faults.clear();
      break;
    case 'GET /_sim/federated-credentials':
      return { status: 200, body: file.state.federatedCredentials };
    case 'PUT /_sim/federated-credentials':
      file.state.federatedCredentials = parse(federatedCredentialsSchema.safeParse(body));
      await file.save();
      return { status: 200, body: file.state.federatedCredentials };
    default:
      throw new ArmError(404, 'NotFound', `The control interface has no ${method} ${url.pathname}.`);
  }
  return { status: 200, body: faults.settings };
}

type Parsed<T> =
  | { readonly success: true; readonly data: T }
  | {
      readonly success: false;
      readonly error: { readonly issues: readonly { path: PropertyKey[]; message: string }[] };
    };

function parse<T>(result: Parsed<T>): T {
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'the whole'}: ${message}`);
  throw new ArmError(400, 'InvalidRequestContent', problems.join('; '));
}
