/** How to sign in to a registry. */
export type RegistryCredential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** An OAuth 2 refresh token, Docker's "identity token". */
  | { readonly kind: 'refresh-token'; readonly token: string }
  /** A token of Microsoft Entra ID, which Azure Container Registry exchanges for a refresh token of its own. */
  | { readonly kind: 'entra-token'; readonly token: string; readonly tenant?: string };

/** Gives the credential for a registry (`example.azurecr.io`), or undefined where there is none: it is then asked without. */
export type RegistryCredentials = (host: string, signal: AbortSignal) => Promise<RegistryCredential | undefined>;
