import { createRequire } from 'node:module';
import type { MessageUtil } from 'rhea';

/** Makes a body that is one data section of AMQP. */
export function dataSection(content: Buffer | string): unknown {
  // Only who has an AMQP connection comes here, so the library is loaded already.
  const { message } = createRequire(import.meta.url)('rhea') as { readonly message: MessageUtil };
  return message.data_section(Buffer.from(content));
}
