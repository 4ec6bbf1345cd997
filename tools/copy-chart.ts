import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';

const CHART = join(import.meta.dirname, '..', 'deploy', 'charts', 'kairos-operator');

/**
 * Copies the chart to `target`, which is emptied first. Helm renders no chart whose dependencies are not there, be they
 * switched off, and fetching them needs a network: where the chart of Temporal was not fetched, the copy does without it.
 * It then knows an embedded and an external Temporal only, and refuses temporal.enabled with what to do.
 */
export function copyChart(target: string): void {
  rmSync(target, { recursive: true, force: true });
  cpSync(CHART, target, { recursive: true });
  const fetched = join(target, 'charts');
  if (existsSync(fetched) && readdirSync(fetched).some((name) => name.startsWith('temporal'))) return;
  const file = join(target, 'Chart.yaml');
  const chart = parseDocument(readFileSync(file, 'utf8'));
  chart.delete('dependencies');
  writeFileSync(file, chart.toString({ lineWidth: 0 }));
  rmSync(join(target, 'Chart.lock'));
}

if (import.meta.main) {
  const [target] = process.argv.slice(2);
  if (target === undefined) {
    process.stderr.write(
      'usage: node tools/copy-chart.ts FOLDER: writes a chart there that Helm renders without a network\n',
    );
    process.exitCode = 2;
  } else {
    copyChart(target);
    process.stdout.write(`${target}\n`);
  }
}
