import { createRequire } from 'node:module';
import type { Types } from 'rhea';

/** Gives AMQP's types; only who has an AMQP connection asks, so the library is loaded already. */
export function amqpTypes(): Types {
  const { types } = createRequire(import.meta.url)('rhea') as { readonly types: Types };
  return types;
}
