import * as z from 'zod';

/**
 * What an optimised graph is for: it lies beside the graph that it was made of, in a file of its own beside it. Where it was not made for
 * what is there, the original is used.
 */
export const optimizedGraphSchema = z.strictObject({
  /** Version of the runtime that made it. */
  runtime: z.string().min(1),
  /** Kind of processor that its weights are laid out for. */
  processor: z.string().min(1),
});

export type OptimizedGraph = z.infer<typeof optimizedGraphSchema>;

/** Gives the paths of a model's optimised graph and of what it is for: `digits.onnx` is optimised as `digits.optimized.onnx`. */
export function optimizedPaths(modelPath: string): { readonly graph: string; readonly description: string } {
  const stem = modelPath.replace(/\.onnx$/, '');
  return { graph: `${stem}.optimized.onnx`, description: `${stem}.optimized.json` };
}
