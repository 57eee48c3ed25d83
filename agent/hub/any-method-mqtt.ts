import { Mqtt } from 'azure-iot-device-mqtt';

/** Name to register a handler under that takes every direct method; no real method has it, as `*` may not be in a topic. */
export const anyMethod = '*';

const prefix = 'method_';

/**
 * The SDK's transport, with one handler for all direct methods. The SDK has one for each name as it is written: a call of `Ping`
 * or of a method that does not exist would never be answered, and the caller would wait for the hub's time to be over.
 */
export class AnyMethodMqtt extends Mqtt {
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    const isMethod = typeof event === 'string' && event.startsWith(prefix);
    return super.emit(isMethod ? prefix + anyMethod : event, ...args);
  }
}

/** The same over WebSockets: what a proxy lets through. The SDK's own would put its port behind one that the name has already. */
export class AnyMethodMqttWs extends AnyMethodMqtt {
  protected override _getBaseTransportConfig(
    credentials: Parameters<Mqtt['_getBaseTransportConfig']>[0],
  ): ReturnType<Mqtt['_getBaseTransportConfig']> {
    const host = credentials.gatewayHostName ?? credentials.host;
    const uri = `wss://${/:\d+$/.test(host) ? host : `${host}:443`}/$iothub/websocket`;
    return { ...super._getBaseTransportConfig(credentials), uri };
  }
}
