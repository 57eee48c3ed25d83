import type { Address } from './identity/identity.ts';

/** The properties of a message that the protocol itself knows. Times are as they were sent: ISO 8601 or ticks. */
export interface SystemProperties {
  readonly messageId?: string;
  readonly correlationId?: string;
  readonly userId?: string;
  readonly to?: string;
  readonly contentType?: string;
  readonly contentEncoding?: string;
  readonly expiry?: string;
  readonly outputName?: string;
  readonly interfaceId?: string;
  readonly subject?: string;
  readonly componentName?: string;
  readonly creationTime?: string;
}

/** A message, from a device or to one. Its body is never looked into. */
export interface Message {
  readonly system: SystemProperties;
  /** What the application set; a `null` is a key without a value. */
  readonly properties: Readonly<Record<string, string | null>>;
  readonly body: Buffer;
}

/** Largest message from a device, body and properties together, in bytes. */
export const deviceMessageBytesMax = 256 * 1024;

/** Largest message to a device, in bytes. */
export const commandBytesMax = 64 * 1024;

/** Who sent a message, and how the hub knew. */
export interface Sender {
  readonly address: Address;
  readonly generationId: string;
  /** As the `iothub-connection-auth-method` annotation has it. */
  readonly authMethod: { readonly scope: string; readonly type: string; readonly issuer: string };
}

/** Gives a message's size as the limits count it: body, and every property's name and value. */
export function sizeOf({ system, properties, body }: Message): number {
  const texts = [...Object.entries(system), ...Object.entries(properties)].flat();
  return texts.reduce<number>((sum, text) => sum + Buffer.byteLength(text ?? ''), body.length);
}
