import { Environment } from '@marcbachmann/cel-js';
import { z } from 'zod';
import { strategy } from '../api/schemas/strategy.ts';

/** The part of OpenAPI that is looked at beside the schema itself. */
interface Schema {
  properties?: Record<string, Schema>;
  additionalProperties?: unknown;
  items?: Schema;
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-validations'?: { rule: string; message: string }[];
}

const SCHEMA = z.toJSONSchema(strategy, { target: 'openapi-3.0', io: 'input' }) as Schema;

const rules = new Environment({ unlistedVariablesAreDyn: true });

/**
 * What is wrong with a strategy, each with its field and what to write: the same that the API server says of it in a
 * NodeOpUpgrade, by the same schema and the same rules. Empty where nothing is.
 */
export function strategyMistakes(given: unknown): string[] {
  const unknown = unknownFields(SCHEMA, given, '');
  if (unknown.length > 0) return unknown;
  const parsed = strategy.safeParse(given);
  const wrong = (parsed.error?.issues ?? []).map(({ path, message }) => `${fieldText(path)}: ${message}`);
  return wrong.length > 0 ? wrong : brokenRules(SCHEMA, given, '');
}

const fieldText = (path: readonly PropertyKey[]) =>
  path.reduce<string>(
    (text, part) =>
      typeof part === 'number' ? `${text}[${part}]` : text === '' ? String(part) : `${text}.${String(part)}`,
    '',
  ) || 'the whole';

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function unknownFields(schema: Schema, value: unknown, path: string): string[] {
  if (Array.isArray(value) && schema.items !== undefined) {
    const { items } = schema;
    return value.flatMap((entry, index) => unknownFields(items, entry, `${path}[${index}]`));
  }
  if (!isMap(value) || schema.properties === undefined) return [];
  const { properties } = schema;
  return Object.entries(value).flatMap(([name, inner]) => {
    const field = path === '' ? name : `${path}.${name}`;
    const known = properties[name];
    if (known !== undefined) return unknownFields(known, inner, field);
    return [`${field}: there is no such field: write one of ${Object.keys(properties).join(', ')}`];
  });
}

/** The rules over several fields, in CEL, which zod does not know; and lists that have two entries of one name. */
function brokenRules(schema: Schema, value: unknown, path: string): string[] {
  if (value === undefined || value === null) return [];
  const said = `${path === '' ? 'strategy' : path}: `;
  const broken = (schema['x-kubernetes-validations'] ?? [])
    .filter(({ rule }) => rules.evaluate(rule, { self: forCEL(value) }) !== true)
    .map(({ message }) => `${said}${message}`);
  const { items, properties = {} } = schema;
  if (Array.isArray(value)) {
    const inner =
      items === undefined ? [] : value.flatMap((entry, index) => brokenRules(items, entry, `${path}[${index}]`));
    return [...broken, ...twins(schema, value as Record<string, unknown>[], said), ...inner];
  }
  if (!isMap(value)) return broken;
  const inner = Object.entries(properties).flatMap(([name, property]) =>
    brokenRules(property, value[name], path === '' ? name : `${path}.${name}`),
  );
  return [...broken, ...inner];
}

function twins(schema: Schema, entries: readonly Record<string, unknown>[], said: string): string[] {
  const [key] = schema['x-kubernetes-list-map-keys'] ?? [];
  if (key === undefined) return [];
  const names = entries.map((entry) => String(entry[key]));
  return names
    .filter((name, index) => names.indexOf(name) !== index)
    .map((name) => `${said}two entries have the ${key} ${name}: give each its own`);
}

/** Whole numbers of YAML and JSON are int in CEL; all other numbers of JavaScript are double. */
function forCEL(value: unknown): unknown {
  if (typeof value === 'number' && Number.isInteger(value)) return BigInt(value);
  if (Array.isArray(value)) return value.map(forCEL);
  return isMap(value) ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, forCEL(inner)])) : value;
}
