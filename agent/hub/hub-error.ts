import { FerryError, messageOf } from '../../shared/errors.ts';

/**
 * Makes one of two failures of anything that the device SDK throws when it connects: HUB_UNAUTHORIZED, which only a new key cures,
 * or HUB_UNREACHABLE, which time may cure. The SDK calls every failure of the first connection "Not authorized"; what
 * happened is in the text behind that.
 * @param address what was dialled: `factory.azure-devices.net:8883`
 */
export function hubError(thrown: unknown, address: string): FerryError {
  const text = messageOf(thrown).replace(/^.*Failure on first connection \(Not authorized\): /s, '');
  if (isRefusal(text)) {
    return new FerryError('HUB_UNAUTHORIZED', `Cannot sign in to the hub at ${address}: it refuses the device`, {
      cause: new Error(text),
      next: "Check the device's connection string, that the device is enabled, and this machine's clock.",
    });
  }
  return new FerryError('HUB_UNREACHABLE', `Cannot reach the hub at ${address}`, {
    cause: new Error(text === '' ? 'the connection was closed' : text),
  });
}

/**
 * Says whether the hub itself refused: CONNACK 2, 4 and 5 in the words of mqtt.js, behind which the SDK puts its own.
 * @see azure-iot-mqtt-base, mqtt_translate_error.js
 */
function isRefusal(text: string): boolean {
  return /Identifier rejected|Bad username or password|Connection refused: Not authorized|returned Connection refused: Not/i.test(
    text,
  );
}
