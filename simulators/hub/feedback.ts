import type { Command, Outcome } from './commands.ts';
import type { Registry } from './identity/registry.ts';
import { timeOf } from './time.ts';

/**
 * Gives the record that tells a sender how its cloud-to-device message ended, if it asked for it.
 * @see https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-messages-c2d#message-feedback
 */
export function feedbackOf(
  command: Command,
  { outcome, nowMs, registry }: { readonly outcome: Outcome; readonly nowMs: number; readonly registry: Registry },
): Record<string, unknown> | undefined {
  const { acknowledgement, deviceId, message } = command;
  const isWanted = acknowledgement === 'full' || acknowledgement === (outcome === 'Success' ? 'positive' : 'negative');
  if (!isWanted) return undefined;
  return {
    originalMessageId: message.system.messageId ?? '',
    description: outcome,
    deviceGenerationId: registry.devices.get(deviceId)?.identity.generationId ?? '',
    deviceId,
    enqueuedTimeUtc: timeOf(nowMs),
    statusCode: outcome,
  };
}
