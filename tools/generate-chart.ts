import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { format } from 'prettier';
import { documentedValues, valuesTable } from './values-table.ts';

const ROOT = join(import.meta.dirname, '..');
const POLICIES = join('deploy', 'policies');
const CHART = join('deploy', 'charts', 'kairos-operator');
const [BEGIN, END] = ['<!-- values: made from values.yaml by `make chart-docs` -->', '<!-- end of the values -->'];

/**
 * Path in the project → content of every file of the chart that is made from others: the admission policies, since a
 * chart cannot read what lies outside of it, and its README, whose table is that of values.yaml. Writes nothing: a test
 * compares it with what is there.
 */
export async function renderChartFiles(): Promise<Map<string, string>> {
  const policies = (await readdir(join(ROOT, POLICIES))).filter((name) => name.endsWith('.yaml')).toSorted();
  const copies = policies.map(async (name) => {
    const text = await readFile(join(ROOT, POLICIES, name), 'utf8');
    return [
      join(CHART, 'files', 'policies', name),
      `# Copied from ${POLICIES} by \`make chart-docs\`. Edit that.\n${text}`,
    ];
  });
  return new Map((await Promise.all([...copies, readme()])) as [string, string][]);
}

async function readme(): Promise<[string, string]> {
  const file = join(CHART, 'README.md');
  const text = await readFile(join(ROOT, file), 'utf8');
  const [before, rest] = text.split(BEGIN);
  const after = rest?.split(END)[1];
  if (before === undefined || after === undefined)
    throw new Error(`${file}: the lines around the values are not there`);
  const values = documentedValues(await readFile(join(ROOT, CHART, 'values.yaml'), 'utf8'));
  return [file, await format(`${before}${BEGIN}\n\n${valuesTable(values)}\n\n${END}${after}`, { parser: 'markdown' })];
}

if (import.meta.main) {
  for (const [file, content] of await renderChartFiles()) {
    await mkdir(dirname(join(ROOT, file)), { recursive: true });
    await writeFile(join(ROOT, file), content);
    console.log(file);
  }
}
