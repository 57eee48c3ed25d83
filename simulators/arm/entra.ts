import { createHash, createPrivateKey, createPublicKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import { ArmError } from './arm-error.ts';
import type { Faults } from './faults.ts';
import { readToken, signToken } from './json-web-token.ts';
import type { ArmAnswer, ArmRequest } from './route.ts';
import type { State } from './state.ts';

/** What tokens may be for, as their scope names it without `/.default`; Resource Manager's own are checked apart. */
const otherResources = [
  'https://storage.azure.com',
  'https://iothubs.azure.net',
  'https://containerregistry.azure.net',
  'https://monitor.azure.com',
];
const armResources = ['https://management.azure.com', 'https://management.core.windows.net'];
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** How far two clocks may be apart, in seconds, as Entra has it. */
const clockSkewSeconds = 300;

/**
 * The sign-in of Microsoft Entra ID for one application of one tenant, and the check of the tokens that it gave.
 * @see https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
 * @see https://learn.microsoft.com/entra/identity-platform/reference-error-codes
 */
export class Entra {
  readonly #state: State;
  readonly #faults: Faults;
  readonly #clock: Clock;
  readonly #key: KeyObject;
  readonly #keyId: string;

  constructor(state: State, faults: Faults, clock: Clock) {
    this.#state = state;
    this.#faults = faults;
    this.#clock = clock;
    this.#key = createPrivateKey(state.signingKeyPem);
    this.#keyId = createHash('sha1').update(state.signingKeyPem).digest('base64url');
  }

  /** Answers what is Entra's, or gives `undefined`. @throws {SignInError} when somebody is not let in */
  answer(request: ArmRequest): ArmAnswer | undefined {
    const { url, method } = request;
    const [tenant = '', ...rest] = url.pathname.split('/').slice(1);
    const path = rest.join('/').toLowerCase();
    if (path === 'v2.0/.well-known/openid-configuration') return this.#configuration(tenant, url);
    if (path === 'discovery/v2.0/keys') return { status: 200, body: { keys: [this.#publicKey()] } };
    if (path === 'oauth2/v2.0/token' && method === 'POST') return this.#giveToken(tenant, request);
    return undefined;
  }

  /** @throws {ArmError} when the request has no token, or not one that lets it in */
  check({ headers, url }: Pick<ArmRequest, 'headers' | 'url'>): void {
    const authority = `${url.origin}/${this.#state.tenantId}`;
    const refused = (code: string, message: string): ArmError =>
      new ArmError(401, code, message, {
        headers: { 'www-authenticate': `Bearer authorization_uri="${authority}", error="invalid_token"` },
      });
    const header = headers['authorization'];
    if (header === undefined) {
      throw refused('AuthenticationFailed', "Authentication failed. The 'Authorization' header is missing.");
    }
    const claims = readToken(header.replace(/^bearer +/i, ''), this.#key);
    if (claims === undefined) throw refused('InvalidAuthenticationToken', 'The access token is invalid.');
    const now = this.#clock.nowMs() / 1000;
    if (claims.exp <= now) {
      throw refused('ExpiredAuthenticationToken', 'The access token expiry time is before the current time.');
    }
    const audience = claims.aud.replace(/\/$/, '');
    if (![...armResources, url.origin].includes(audience)) {
      throw refused(
        'InvalidAuthenticationTokenAudience',
        `The access token has been obtained for wrong audience or resource '${claims.aud}'. It should exactly match one of the allowed audiences ${armResources.map((resource) => `'${resource}/'`).join(',')}.`,
      );
    }
  }

  #configuration(tenant: string, url: URL): ArmAnswer {
    this.#checkTenant(tenant);
    const base = `${url.origin}/${tenant}`;
    return {
      status: 200,
      body: {
        issuer: `${base}/v2.0`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
        jwks_uri: `${base}/discovery/v2.0/keys`,
        token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'],
        response_types_supported: ['code', 'id_token', 'token'],
        subject_types_supported: ['pairwise'],
        id_token_signing_alg_values_supported: ['RS256'],
        tenant_region_scope: 'EU',
      },
    };
  }

  #publicKey(): object {
    return { ...createPublicKey(this.#key).export({ format: 'jwk' }), use: 'sig', kid: this.#keyId };
  }

  #giveToken(tenant: string, { body, url }: ArmRequest): ArmAnswer {
    this.#checkTenant(tenant);
    const form = new URLSearchParams(typeof body === 'string' ? body : '');
    if (form.get('grant_type') !== 'client_credentials') {
      throw new SignInError(
        'unsupported_grant_type',
        `AADSTS70003: The grant type '${form.get('grant_type')}' is not supported; 'client_credentials' is.`,
      );
    }
    this.#checkClient(form);
    const audience = this.#audienceOf(form.get('scope') ?? '', url);
    const seconds = this.#faults.settings.tokenSeconds;
    const now = Math.floor(this.#clock.nowMs() / 1000);
    const { tenantId, clientId } = this.#state;
    const token = signToken(
      {
        aud: audience,
        iss: `${url.origin}/${tenantId}/v2.0`,
        iat: now,
        nbf: now,
        exp: now + seconds,
        appid: clientId,
        sub: clientId,
        tid: tenantId,
        ver: '1.0',
      },
      this.#key,
      this.#keyId,
    );
    return {
      status: 200,
      headers: { 'cache-control': 'no-store', pragma: 'no-cache' },
      body: { token_type: 'Bearer', expires_in: seconds, ext_expires_in: seconds, access_token: token },
    };
  }

  #checkTenant(tenant: string): void {
    if (tenant.toLowerCase() === this.#state.tenantId) return;
    throw new SignInError(
      'invalid_request',
      `AADSTS90002: Tenant '${tenant}' not found. Check to make sure you have the correct tenant ID.`,
    );
  }

  #checkClient(form: URLSearchParams): void {
    const { clientId, clientSecret, tenantId } = this.#state;
    const given = form.get('client_id') ?? '';
    if (given !== clientId) {
      throw new SignInError(
        'unauthorized_client',
        `AADSTS700016: Application with identifier '${given}' was not found in the directory '${tenantId}'.`,
      );
    }
    const assertion = form.get('client_assertion');
    if (assertion !== null) return this.#checkAssertion(assertion, form.get('client_assertion_type'));
    if (isEqual(form.get('client_secret') ?? '', clientSecret)) return;
    throw new SignInError(
      'invalid_client',
      `AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, for a secret added to app '${clientId}'.`,
      401,
    );
  }

  /** Workload identity federation: another issuer's token in place of a secret. */
  #checkAssertion(assertion: string, type: string | null): void {
    if (type !== assertionType) {
      throw new SignInError('invalid_request', `AADSTS900144: client_assertion_type has to be '${assertionType}'.`);
    }
    const now = this.#clock.nowMs() / 1000;
    for (const { issuer, subject, audience, publicKeyPem } of this.#state.federatedCredentials) {
      const claims = readToken(assertion, publicKeyPem);
      if (claims?.iss !== issuer || claims.sub !== subject || claims.aud !== audience) continue;
      if (claims.exp + clockSkewSeconds > now && (claims.nbf ?? 0) - clockSkewSeconds <= now) return;
      throw new SignInError(
        'invalid_client',
        'AADSTS700024: Client assertion is not within its valid time range.',
        401,
      );
    }
    throw new SignInError(
      'invalid_client',
      'AADSTS700213: No matching federated identity record found for presented assertion. Check its issuer, subject, audience and key.',
      401,
    );
  }

  /** @throws {SignInError} invalid_scope, invalid_resource */
  #audienceOf(scope: string, url: URL): string {
    const suffix = '/.default';
    if (!scope.endsWith(suffix) || scope.includes(' ')) {
      throw new SignInError(
        'invalid_scope',
        `AADSTS1002012: The provided value for scope '${scope}' is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.`,
      );
    }
    const resource = scope.slice(0, -suffix.length);
    if ([...armResources, ...otherResources, url.origin].includes(resource.replace(/\/$/, ''))) return resource;
    throw new SignInError(
      'invalid_resource',
      `AADSTS500011: The resource principal named '${resource}' was not found in the tenant '${this.#state.tenantId}'.`,
    );
  }
}

/** A refusal in the form of OAuth 2 (RFC 6749, 5.2). */
export class SignInError extends Error {
  override readonly name = 'SignInError';
  readonly code: string;
  readonly status: number;

  constructor(code: string, message: string, status = 400) {
    super(message);
    this.code = code;
    this.status = status;
  }

  get body(): object {
    const number = Number(/^AADSTS(\d+)/.exec(this.message)?.[1]);
    return { error: this.code, error_description: this.message, error_codes: [number] };
  }
}

function isEqual(left: string, right: string): boolean {
  const [a, b] = [left, right].map((text) => createHash('sha256').update(text).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}
