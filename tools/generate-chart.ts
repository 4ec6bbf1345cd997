import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const POLICIES = join('deploy', 'policies');
const CHART = join('deploy', 'charts', 'kairos-operator');

/**
 * Path in the project → content of every file of the chart that is made from others: the admission policies, since a
 * chart cannot read what lies outside of it. Writes nothing: a test compares it with what is there.
 */
export async function renderChartFiles(): Promise<Map<string, string>> {
  const policies = (await readdir(join(ROOT, POLICIES))).filter((name) => name.endsWith('.yaml')).toSorted();
  return new Map(
    await Promise.all(
      policies.map(async (name) => {
        const text = await readFile(join(ROOT, POLICIES, name), 'utf8');
        const content = `# Copied from ${POLICIES} by \`make chart-docs\`. Edit that.\n${text}`;
        return [join(CHART, 'files', 'policies', name), content] as const;
      }),
    ),
  );
}

if (import.meta.main) {
  for (const [file, content] of await renderChartFiles()) {
    await mkdir(dirname(join(ROOT, file)), { recursive: true });
    await writeFile(join(ROOT, file), content);
    console.log(relative(ROOT, join(ROOT, file)));
  }
}
