import { readFile } from 'node:fs/promises';
import { type CardModel, describeTensor } from './card-model.ts';
import { readGraph } from './graph-nodes.ts';
import { placeNodes } from './placement.ts';
import { startRuntimeServer } from './runtime-server.ts';
import type { WireTensor } from './tensors.ts';

/** A tensor as a scoring script has it. */
type Values = Pick<WireTensor, 'shape' | 'data'>;

/** A model as a scoring script has it. */
interface ScriptModel {
  readonly version: number;
  readonly path: string;
  readonly signature: Readonly<Record<'inputs' | 'outputs', readonly Signed[]>>;
  run(inputs: Readonly<Record<string, Values>>): Promise<Record<string, Values>>;
}

interface Signed {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

/**
 * The simulated accelerator as a container: a scoring script that opens the runtime's port, with the first model of its image on the card. Beside
 * it stands another container, which serves that model to the world.
 */
export async function init({ models }: { readonly models: Readonly<Record<string, ScriptModel>> }): Promise<void> {
  const [[name, model] = []] = Object.entries(models);
  if (name === undefined || model === undefined) throw new Error('the image has no model to put onto the card');
  const { ACCELERATOR_PORT: port, ACCELERATOR_LATENCY_MS: latency, ACCELERATOR_UNSUPPORTED: unsupported } = process.env;
  const placement = placeNodes(readGraph(await readFile(model.path)), new Set(unsupported?.split(',')));
  await startRuntimeServer({
    model: { ...toCardModel(model), placement },
    name,
    version: String(model.version),
    host: process.env['ACCELERATOR_HOST'] ?? '0.0.0.0',
    port: Number(port ?? '8500'),
    ...(latency !== undefined && { latencyMs: Number(latency) }),
    log: {
      warn: (fields: object, text?: string) => console.error(JSON.stringify({ ...fields, text })),
      error: (fields: object, text?: string) => console.error(JSON.stringify({ ...fields, text })),
    },
  });
}

/** What the scoring server itself answers, which nobody asks. */
export function run(): object {
  return { simulated: true };
}

function toCardModel(model: ScriptModel): Omit<CardModel, 'placement'> {
  const [inputs, outputs] = [model.signature.inputs, model.signature.outputs].map((tensors) =>
    tensors.map(({ name, type, shape }) => describeTensor(name, type, shape)),
  );
  if (inputs === undefined || outputs === undefined) throw new Error('the model has no signature');
  return {
    inputs,
    outputs,
    run: async (given) => {
      const results = await model.run(Object.fromEntries(given.map(({ name, ...tensor }) => [name, tensor])));
      return outputs.map(({ name, datatype }) => {
        const result = results[name];
        if (result === undefined) throw new Error(`the run gave no "${name}"`);
        return { name, datatype, shape: result.shape, data: result.data };
      });
    },
    close: () => Promise.resolve(),
  };
}
