import { ArmError } from './arm-error.ts';

/** A request to the simulator, its body parsed. */
export interface ArmRequest {
  readonly method: string;
  readonly url: URL;
  /** What the placeholders of the route's path stood for. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** `undefined` when none was sent. */
  readonly body: unknown;
}

/** What is answered. */
export interface ArmAnswer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A kind of requests, and what is done about them. */
export interface Route {
  readonly method: string;
  /** As in `/subscriptions/{subscription}/resourceGroups/{resourceGroup}`; text is compared without regard to case. */
  readonly path: string;
  /** API versions that are taken; requests of other ones are refused. */
  readonly apiVersions: readonly string[];
  readonly answer: (request: ArmRequest) => ArmAnswer | Promise<ArmAnswer>;
}

/**
 * Finds the route of a request.
 * @throws {ArmError} InvalidResourceType when nothing is at the path, MethodNotAllowed when something is, but not for the method
 */
export function findRoute(
  routes: readonly Route[],
  method: string,
  path: string,
): { readonly route: Route; readonly parameters: Readonly<Record<string, string>> } {
  const matches = routes.flatMap((route) => {
    const parameters = match(route.path, path);
    return parameters === undefined ? [] : [{ route, parameters }];
  });
  const found = matches.find(({ route }) => route.method === method);
  if (found !== undefined) return found;
  if (matches.length > 0) {
    throw new ArmError(405, 'MethodNotAllowed', `The method '${method}' is not allowed for '${path}'.`);
  }
  throw new ArmError(404, 'InvalidResourceType', `The resource type at '${path}' could not be found.`);
}

/**
 * @throws {ArmError} MissingApiVersionParameter, InvalidApiVersionParameter, NoRegisteredProviderFound
 * @see https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-invalid-template
 */
export function checkApiVersion({ path, apiVersions }: Route, url: URL): void {
  const given = url.searchParams.get('api-version');
  if (given === null || given === '') {
    throw new ArmError(
      400,
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
    );
  }
  if (apiVersions.includes(given)) return;
  const supported = apiVersions.map((version) => `'${version}'`).join(', ');
  const provider = /\/providers\/([^/]+)\/(.+)$/.exec(path);
  if (provider === null || !/^\d{4}-\d\d-\d\d(?:-preview)?$/.test(given)) {
    throw new ArmError(
      400,
      'InvalidApiVersionParameter',
      `The api-version '${given}' is invalid. The supported versions are ${supported}.`,
    );
  }
  throw new ArmError(
    400,
    'NoRegisteredProviderFound',
    `No registered resource provider found for API version '${given}' for type '${provider[2]}'. The supported api-versions are ${supported}.`,
  );
}

function match(template: string, path: string): Record<string, string> | undefined {
  const wanted = template.split('/');
  const given = path.replace(/\/$/, '').split('/');
  if (wanted.length !== given.length) return undefined;
  const parameters: Record<string, string> = {};
  for (const [index, piece] of wanted.entries()) {
    const text = decode(given[index] ?? '');
    if (piece.startsWith('{')) {
      if (text === '') return undefined;
      parameters[piece.slice(1, -1)] = text;
    } else if (piece.toLowerCase() !== text.toLowerCase()) return undefined;
  }
  return parameters;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new ArmError(400, 'BadRequest', `The path has '${text}', which is not URL-encoded.`);
  }
}
