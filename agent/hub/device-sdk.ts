import { createRequire } from 'node:module';
import type { Client, ModuleClient } from 'azure-iot-device';

/** What the agent uses of the device SDK. */
interface DeviceSdk {
  /** @param overWebSockets as proxies let it through; the options of the client have to name the agent then */
  readonly connectModule: (connectionString: string, overWebSockets: boolean) => ModuleClient;
  readonly connectDevice: (connectionString: string) => Client;
  /** Name to register a handler under that takes every direct method. */
  readonly anyMethod: string;
}

/** The SDK is not to try again: the agent does, because the SDK gives up after four minutes and not at all the first time. */
const noRetry = { shouldRetry: () => false, nextRetryTimeout: () => 0 };

/** Loads the device SDK when it is first needed, so that modules are started before that: it takes a quarter of a second on a small device. */
export async function loadDeviceSdk(): Promise<DeviceSdk> {
  const [{ default: device }, { AnyMethodMqtt, AnyMethodMqttWs, anyMethod }] = await Promise.all([
    import('azure-iot-device'),
    import('./any-method-mqtt.ts'),
  ]);
  spareNumberCache();
  return {
    anyMethod,
    connectModule: (text, overWebSockets) =>
      withoutRetry(device.ModuleClient.fromConnectionString(text, overWebSockets ? AnyMethodMqttWs : AnyMethodMqtt)),
    connectDevice: (text) => withoutRetry(device.Client.fromConnectionString(text, AnyMethodMqtt)),
  };
}

function withoutRetry<T extends Client | ModuleClient>(client: T): T {
  client.setRetryPolicy(noRetry);
  return client;
}

/**
 * Keeps the SDK's MQTT packet writer from making a buffer for each of the 65,536 numbers that it may write one day: 10 MB on a device
 * that sends a few packets a minute.
 */
function spareNumberCache(): void {
  const packets: unknown = createRequire(import.meta.resolve('mqtt'))('mqtt-packet');
  if (hasWriter(packets)) packets.writeToStream.cacheNumbers = false;
}

function hasWriter(packets: unknown): packets is { readonly writeToStream: { cacheNumbers: boolean } } {
  return (
    typeof packets === 'object' &&
    packets !== null &&
    'writeToStream' in packets &&
    typeof packets.writeToStream === 'function' &&
    'cacheNumbers' in packets.writeToStream
  );
}
