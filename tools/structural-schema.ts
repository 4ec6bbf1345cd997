/** The part of OpenAPI v3 that a CRD may hold. */
export interface JsonSchema {
  type?: string;
  description?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema | boolean;
  items?: JsonSchema;
  required?: string[];
  minimum?: number;
  maximum?: number;
  [keyword: string]: unknown;
}

/** Keywords that a structural schema forbids where they could come from our zod types. */
const FORBIDDEN = [
  '$ref',
  'definitions',
  '$defs',
  'anyOf',
  'oneOf',
  'allOf',
  'not',
  'patternProperties',
  'propertyNames',
];
const INT_OR_STRING = 'x-kubernetes-int-or-string';

/**
 * Makes a schema from `z.toJSONSchema` structural, as the API server demands of CRDs. Throws, naming the path, where
 * only the zod type itself can be changed to help.
 */
export function structural(schema: JsonSchema, path: string): JsonSchema {
  const { $schema: _, ...result } = schema;

  // z.int is bounded by what JavaScript can count; that is no rule of ours, and kubectl explain would show it.
  if (result.minimum === Number.MIN_SAFE_INTEGER) delete result.minimum;
  if (result.maximum === Number.MAX_SAFE_INTEGER) delete result.maximum;
  // The API server stores a union of int and string under this mark alone.
  if (result[INT_OR_STRING] === true) {
    delete result.type;
    delete result['anyOf'];
  }
  // Unknown fields are dropped by the API server, or refused by kubectl, which then names them.
  if (result.additionalProperties === false) delete result.additionalProperties;

  for (const keyword of FORBIDDEN) {
    if (keyword in result) throw new Error(`${path}: a CRD may not hold ${keyword}; change its zod type`);
  }
  if (result.type === undefined && result[INT_OR_STRING] !== true) {
    throw new Error(`${path}: a CRD needs a type here; change its zod type`);
  }

  const { properties, items, additionalProperties } = result;
  if (properties !== undefined) {
    result.properties = Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, structural(property, `${path}.${name}`)]),
    );
  }
  if (items !== undefined) result.items = structural(items, `${path}[]`);
  if (typeof additionalProperties === 'object') {
    result.additionalProperties = structural(additionalProperties, `${path}[*]`);
  }
  return result;
}
