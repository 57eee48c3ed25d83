import { randomBytes } from 'node:crypto';

/**
 * Every error that the hub gives, by the name it has on the wire: its number (the first three digits are the HTTP status).
 * @see https://learn.microsoft.com/rest/api/iothub/common-error-codes
 * @see azure-iothub, dist/pl/models/index.d.ts (the names)
 */
const numbers = {
  InvalidProtocolVersion: 400001,
  ArgumentInvalid: 400004,
  ArgumentNull: 400005,
  IotHubFormatError: 400006,
  DeviceJobAlreadyExists: 409110,
  InvalidConfigurationContent: 400141,
  InvalidConfigurationTargetCondition: 400142,
  InvalidConfigurationCustomMetricsQuery: 400143,
  CannotModifyImmutableConfigurationContent: 400144,
  InvalidFileUploadCorrelationId: 400301,
  ExpiredFileUploadCorrelationId: 400302,
  InvalidFileUploadCompletionStatus: 400303,
  DeviceDefinedMultipleTimes: 400011,
  BulkRegistryOperationFailure: 400013,
  SystemModuleModifyUnauthorizedAccess: 401004,
  IotHubUnauthorizedAccess: 401002,
  IotHubUnauthorized: 401003,
  DeviceMaximumQueueDepthExceeded: 403004,
  DeviceMaximumActiveFileUploadLimitExceeded: 403006,
  DefaultStorageEndpointNotConfigured: 400401,
  ConfigurationCountLimitExceeded: 403015,
  DeviceModelMaxPropertiesExceeded: 403100,
  DeviceNotFound: 404001,
  ModuleNotFound: 404010,
  JobNotFound: 404002,
  ConfigurationNotFound: 404015,
  DeviceNotOnline: 404103,
  DeviceConnectionClosedRemotely: 404104,
  GenericNotFound: 404000,
  GenericMethodNotAllowed: 405000,
  DeviceAlreadyExists: 409001,
  ModuleAlreadyExistsOnDevice: 409301,
  ConfigurationAlreadyExists: 409015,
  PreconditionFailed: 412001,
  DeviceMessageLockLost: 412002,
  MessageTooLarge: 413001,
  TooManyModulesOnDevice: 413003,
  GenericRequestEntityTooLarge: 413000,
  ThrottlingException: 429001,
  ServerError: 500001,
  ServiceUnavailable: 503001,
  GatewayTimeout: 504101,
} as const;

/** The name of an error of the hub, as its `iothub-errorcode` header gives it. */
export type HubErrorName = keyof typeof numbers;

/** What the hub answers a bad request with, on every protocol. */
export class HubError extends Error {
  override readonly name = 'HubError';
  readonly errorName: HubErrorName;
  /** The hub's six-digit number of the error. */
  readonly number: number;

  constructor(errorName: HubErrorName, message: string) {
    super(message);
    this.errorName = errorName;
    this.number = numbers[errorName];
  }

  /** The HTTP status that goes with it. */
  get status(): number {
    return Math.floor(this.number / 1000);
  }
}

/** Makes a new tracking id as the hub writes it: 32 hexadecimal digits. */
export function newTrackingId(): string {
  return randomBytes(16).toString('hex').toUpperCase();
}
