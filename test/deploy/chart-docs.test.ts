import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { renderChartFiles } from '../../tools/generate-chart.ts';
import { documentedValues, valuesTable } from '../../tools/values-table.ts';
import { CHART, ROOT } from './chart.ts';

interface Schema {
  $ref?: string;
  type?: string | string[];
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
  $defs?: Record<string, Schema>;
}

const values = documentedValues(readFileSync(path.join(CHART, 'values.yaml'), 'utf8'));
const schema = JSON.parse(readFileSync(path.join(CHART, 'values.schema.json'), 'utf8')) as Schema;

const resolved = ({ $ref, ...own }: Schema): Schema => {
  if ($ref === undefined) return own;
  return $ref
    .split('/')
    .slice(1)
    .reduce((at: Schema, key) => (at as unknown as Record<string, Schema>)[key] ?? {}, schema);
};

describe('what in the chart is made from other files', () => {
  it('is as it would be made now', async () => {
    const files = await renderChartFiles();
    const copies = [...files.keys()].filter((file) => file.includes('/policies/')).map((file) => path.basename(file));
    expect(readdirSync(path.join(CHART, 'files', 'policies')).toSorted()).toEqual(copies.toSorted());
    for (const [file, content] of files)
      if (readFileSync(path.join(ROOT, file), 'utf8') !== content)
        throw new Error(`${file} is not fresh: make chart-docs`);
  });
});

describe('the values of the chart', () => {
  it('are all in its README', () => {
    expect(values.length).toBeGreaterThan(50);
    const readme = readFileSync(path.join(CHART, 'README.md'), 'utf8');
    for (const { path: value } of values) expect(readme).toContain(`| \`${value}\``);
  });

  it.each(values.map(({ path: value }) => value))('are known to the schema: %s', (value) => {
    const found = value.split('.').reduce((at: Schema | undefined, key) => {
      const { properties, additionalProperties } = at ? resolved(at) : {};
      // The values of another chart, which this one hands on.
      return properties?.[key] ?? (additionalProperties === true ? { additionalProperties } : undefined);
    }, schema);
    expect(found).toBeDefined();
  });

  it('may not be misspelt anywhere: every object of the schema says what may be in it', () => {
    const open: string[] = [];
    const look = (at: Schema, where: string): void => {
      // Selectors of Kubernetes, which the API server looks at.
      if (/Selector$|ipBlock$|claims/.test(where)) return;
      if (at.type === 'object' && at.additionalProperties === undefined) open.push(where);
      for (const [key, part] of Object.entries(at.properties ?? {})) look(part, `${where}/${key}`);
      if (at.items !== undefined) look(at.items, `${where}/items`);
    };
    look(schema, '');
    for (const [name, part] of Object.entries(schema.$defs ?? {})) look(part, `$defs/${name}`);
    expect(open).toEqual([]);
  });
});

describe('the table of values', () => {
  it('has each value with its default and the comment above it, and a map that nothing explains as one value', () => {
    const text = `# Of all.\none: 1\n\n# A part.\npart:\n  # First line,\n  # second.\n  two: ''\n  # Whole.\n  whole:\n    cpu: 5m\n  inner:\n    # A|B.\n    three: [a]\n`;
    expect(documentedValues(text)).toEqual([
      { path: 'one', standard: '1', meaning: 'Of all.' },
      { path: 'part', standard: '', meaning: 'A part.' },
      { path: 'part.two', standard: '""', meaning: 'First line, second.' },
      { path: 'part.whole', standard: '{"cpu":"5m"}', meaning: 'Whole.' },
      { path: 'part.inner.three', standard: '["a"]', meaning: 'A|B.' },
    ]);
    expect(valuesTable(documentedValues(text)).split('\n').at(-1)).toBe('| `part.inner.three` | `["a"]` | A\\|B. |');
  });

  it('is not made of a value that nobody explains', () => {
    expect(() => documentedValues('part:\n  # Said.\n  one: 1\n  two: 2\n')).toThrow(/part\.two has no comment/);
  });
});
