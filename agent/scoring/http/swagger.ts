import type { ScoredModel } from '../../../shared/model/service-config.ts';
import type { TensorSpec, TensorType } from '../../../shared/model/signature.ts';
import { inputAliases } from '../protocol/score-body.ts';

/** The versions of the OpenAPI specification that a client may ask for. */
const versions = { '2': 2, '2.0': 2, '3': 3, '3.0': 3, '3.1': 3.1 } as const;

/** What the document says of the service. */
export interface SwaggerOptions {
  readonly title: string;
  readonly version: string;
  /** Stands before every path; or empty. */
  readonly pathPrefix: string;
  /** The model behind `/score`. */
  readonly model: ScoredModel;
}

/**
 * Makes the service's OpenAPI document from the model's signature, in the form of Azure ML's, with `required`.
 * @param asked as in `?version=` @default '2'
 * @returns undefined when that version is none that there is
 */
export function swaggerDocument(asked: string | null, options: SwaggerOptions): object | undefined {
  const version = versions[(asked ?? '2') as keyof typeof versions];
  if (version === undefined) return undefined;
  const info = { title: options.title, version: options.version };
  const schemas = schemasOf(options.model);
  if (version === 2) {
    return {
      swagger: '2.0',
      info,
      schemes: ['https'],
      consumes: ['application/json'],
      produces: ['application/json'],
      securityDefinitions: { Bearer: bearer },
      paths: prefixed(
        paths((name) => `#/definitions/${name}`, 2),
        options,
      ),
      definitions: schemas,
    };
  }
  return {
    openapi: version === 3 ? '3.0.3' : '3.1.0',
    info,
    paths: prefixed(
      paths((name) => `#/components/schemas/${name}`, 3),
      options,
    ),
    components: { schemas, securitySchemes: { Bearer: bearer } },
  };
}

const bearer = { type: 'apiKey', name: 'Authorization', in: 'header', description: 'For example: Bearer abc123' };

function prefixed(paths: object, { pathPrefix }: SwaggerOptions): object {
  return Object.fromEntries(Object.entries(paths).map(([path, operations]) => [`${pathPrefix}${path}`, operations]));
}

type Reference = (schema: string) => string;

function paths(reference: Reference, version: 2 | 3): object {
  const answer = (description: string, schema: object, type = 'application/json'): object =>
    version === 2 ? { description, schema } : { description, content: { [type]: { schema } } };
  const failure = answer('Error', { $ref: reference('ErrorResponse') });
  const payload = { $ref: reference('ServiceInput') };
  const body =
    version === 2
      ? { parameters: [{ name: 'serviceInputPayload', in: 'body', required: true, schema: payload }] }
      : { requestBody: { required: true, content: { 'application/json': { schema: payload } } } };
  const operation = (id: string, description: string, responses: object): object => ({
    operationId: id,
    description,
    responses,
  });
  return {
    '/': {
      get: operation('ServiceHealthCheck', 'Says whether the service is up.', {
        200: answer('Healthy', { type: 'string' }, 'text/plain'),
      }),
    },
    '/score': {
      post: {
        ...operation('RunMLService', 'Scores rows.', {
          200: answer('The outputs of the model', { $ref: reference('ServiceOutput') }),
          default: failure,
        }),
        security: [{ Bearer: [] }],
        ...body,
      },
    },
    '/swagger.json': {
      get: operation('GetSwaggerSpec', 'Gives this document.', {
        200: answer('This document', { type: 'object' }),
        default: failure,
      }),
    },
  };
}

function schemasOf({ signature }: ScoredModel): Record<string, object> {
  const [input] = signature.inputs;
  const alone = signature.inputs.length === 1 && input !== undefined;
  const aliases = inputAliases.filter((alias) => alias !== input?.name).join('" or "');
  return {
    ServiceInput: {
      ...objectOf(signature.inputs),
      ...(alone ? { description: `"${input.name}" may be called "${aliases}" too.` } : {}),
      example: Object.fromEntries(signature.inputs.map((tensor) => [tensor.name, exampleOf(tensor)])),
    },
    ServiceOutput: objectOf(signature.outputs),
    ErrorResponse: { type: 'object', required: ['message'], properties: { message: { type: 'string' } } },
  };
}

/** A script that declares nothing takes and gives any object. */
function objectOf(tensors: readonly TensorSpec[]): object {
  if (tensors.length === 0) return { type: 'object' };
  return {
    type: 'object',
    required: tensors.map(({ name }) => name),
    properties: Object.fromEntries(tensors.map((tensor) => [tensor.name, tensorSchema(tensor)])),
  };
}

function tensorSchema({ type, shape }: TensorSpec): object {
  return shape.reduceRight<object>((items, dimension) => {
    const fixed = typeof dimension === 'number' ? { minItems: dimension, maxItems: dimension } : {};
    return { type: 'array', items, ...fixed };
  }, scalarSchemas[type]);
}

const scalarSchemas: Record<TensorType, object> = {
  bool: { type: 'boolean' },
  float16: { type: 'number', format: 'float' },
  float32: { type: 'number', format: 'float' },
  float64: { type: 'number', format: 'double' },
  int16: { type: 'integer', format: 'int32', minimum: -32_768, maximum: 32_767 },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  int8: { type: 'integer', format: 'int32', minimum: -128, maximum: 127 },
  string: { type: 'string' },
  uint16: { type: 'integer', format: 'int32', minimum: 0, maximum: 65_535 },
  uint32: { type: 'integer', format: 'int64', minimum: 0, maximum: 4_294_967_295 },
  uint64: { type: 'integer', minimum: 0 },
  uint8: { type: 'integer', format: 'int32', minimum: 0, maximum: 255 },
};

/** Elements of one dimension beyond which an example is left out: it would be longer than the rest of the document. */
const exampleSizeMax = 1024;

function exampleOf({ type, shape }: TensorSpec): unknown {
  const scalar = type === 'string' ? '' : type === 'bool' ? false : 0;
  const sizes = shape.map((dimension) => (typeof dimension === 'number' ? dimension : 1));
  if (sizes.reduce((product, size) => product * size, 1) > exampleSizeMax) return [];
  return sizes.reduceRight<unknown>((inner, size) => Array.from({ length: size }, () => inner), scalar);
}
