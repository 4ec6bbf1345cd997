import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { z } from 'zod';
import { imageReference, duration } from '../../api/schemas/meta.ts';
import { kairosNode } from '../../api/schemas/kairos-node.ts';
import { nodeOpUpgrade } from '../../api/schemas/node-op-upgrade.ts';
import { CRD_FOLDER, renderCrds } from '../../tools/generate-crds.ts';
import { structural, type JsonSchema } from '../../tools/structural-schema.ts';

describe('the generated CRDs', () => {
  const rendered = renderCrds();

  it('are what lies in deploy/crds (else: npm run crds)', async () => {
    expect((await readdir(CRD_FOLDER)).toSorted()).toEqual([...rendered.keys()].toSorted());
    for (const [file, content] of rendered) {
      expect(await readFile(join(CRD_FOLDER, file), 'utf8')).toBe(content);
    }
  });

  it('describe every field, so that kubectl explain is of use', () => {
    for (const [file, content] of rendered) {
      const schema = parse(content).spec.versions[0].schema.openAPIV3Schema as JsonSchema;
      expect(undescribed(schema, file)).toEqual([]);
    }
  });
});

function undescribed(schema: JsonSchema, path: string): string[] {
  const missing: string[] = [];
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if (property.description === undefined && name !== 'metadata') missing.push(`${path}.${name}`);
    missing.push(
      ...undescribed(property, `${path}.${name}`),
      ...undescribed(property.items ?? {}, `${path}.${name}[]`),
    );
  }
  return missing;
}

describe('structural', () => {
  const convert = (type: z.ZodType): JsonSchema =>
    structural(z.toJSONSchema(type, { target: 'openapi-3.0', io: 'input' }) as JsonSchema, 'Thing');

  it('leaves an int-or-string without type and anyOf', () => {
    const type = z.union([z.int(), z.string()]).meta({ 'x-kubernetes-int-or-string': true });
    expect(convert(type)).toEqual({ 'x-kubernetes-int-or-string': true });
  });

  it('drops the bounds of JavaScript integers and keeps ours', () => {
    expect(convert(z.object({ a: z.int(), b: z.int().min(1).max(9) })).properties).toEqual({
      a: { type: 'integer' },
      b: { type: 'integer', minimum: 1, maximum: 9 },
    });
  });

  it('drops additionalProperties: false and keeps the schema of a record', () => {
    const schema = convert(z.strictObject({ labels: z.record(z.string(), z.string()) }));
    expect(schema.additionalProperties).toBeUndefined();
    expect(schema.properties?.['labels']?.additionalProperties).toEqual({ type: 'string' });
  });

  it('names the path of what only the zod type can mend', () => {
    expect(() => convert(z.object({ a: z.array(z.union([z.object({}), z.boolean()])) }))).toThrow(
      'Thing.a[]: a CRD may not hold anyOf',
    );
    expect(() => convert(z.object({ a: z.unknown() }))).toThrow('Thing.a: a CRD needs a type here');
  });
});

describe('image references', () => {
  it.each([
    'busybox',
    'docker:latest',
    'quay.io/kairos/hadron:v0.0.4-standard-amd64-generic-v4.0.3-k3sv1.33.9-k3s1',
    'localhost:5000/kairos/ubuntu__24.04:v1',
    '[fd00::1]:5000/kairos:v1',
    'Registry.Example.com/kairos:V1',
    `ttl.sh/my-hadron@sha256:${'0a'.repeat(32)}`,
    `ttl.sh/my-hadron:0.2.0@sha256:${'0a'.repeat(32)}`,
  ])('%s is one', (image) => {
    expect(imageReference().safeParse(image).success).toBe(true);
  });

  it.each([
    '',
    'oci:quay.io/kairos/hadron:v1',
    'docker://quay.io/kairos/hadron:v1',
    'https://quay.io/kairos/hadron',
    'quay.io/kairos/hadron:v4.0.3-k3sv1.33.9+k3s1',
    'quay.io/Kairos/hadron:v1',
    'quay.io/kairos/hadron:v1 ',
    'quay.io/kairos/hadron@sha256:abc',
  ])('"%s" is none', (image) => {
    expect(imageReference().safeParse(image).success).toBe(false);
  });

  it('are judged in linear time', () => {
    const startedMs = Date.now();
    imageReference().safeParse(`${'a-'.repeat(499)}!`);
    imageReference().safeParse(`${'a/'.repeat(499)}!`);
    expect(Date.now() - startedMs).toBeLessThan(100);
  });
});

describe('durations', () => {
  it.each(['0s', '30s', '15m', '1h30m', '1h30s', '90m', '48h'])('%s is one', (text) => {
    expect(duration().safeParse(text).success).toBe(true);
  });

  it.each(['', '5', '5 minutes', '1.5h', '30m1h', '500ms', '1d', 's'])('"%s" is none', (text) => {
    expect(duration().safeParse(text).success).toBe(false);
  });
});

it('the samples pass the zod schemas too', async () => {
  const sample = async (file: string): Promise<unknown> =>
    parse(await readFile(join(CRD_FOLDER, '..', 'samples', file), 'utf8'));
  expect(nodeOpUpgrade.parse(await sample('nodeopupgrade.yaml')).spec.strategy?.maxUnavailable).toBe(3);
  expect(kairosNode.parse(await sample('kairosnode-by-hand.yaml')).spec?.version).toContain('+k3s1');
});
