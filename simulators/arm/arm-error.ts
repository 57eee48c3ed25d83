/** One of several things that are wrong, within an error. */
export interface ArmErrorDetail {
  readonly code: string;
  readonly message: string;
  readonly target?: string;
}

/**
 * What Azure Resource Manager answers a bad request with.
 * @see https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors
 */
export class ArmError extends Error {
  override readonly name = 'ArmError';
  readonly status: number;
  readonly code: string;
  readonly details: readonly ArmErrorDetail[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    more: { readonly details?: readonly ArmErrorDetail[]; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = more.details ?? [];
    this.headers = more.headers ?? {};
  }

  /** The envelope of every error of Resource Manager. */
  get body(): object {
    const { code, message, details } = this;
    return { error: { code, message, ...(details.length === 0 ? {} : { details }) } };
  }
}

/** @param id the resource, as its path from the type on: `Microsoft.ContainerInstance/containerGroups/digits` */
export function resourceNotFound(id: string, resourceGroup: string): ArmError {
  return new ArmError(
    404,
    'ResourceNotFound',
    `The Resource '${id}' under resource group '${resourceGroup}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix`,
  );
}
