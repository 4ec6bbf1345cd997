import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { copyChart } from '../../tools/copy-chart.ts';
import { resolveTool } from '../../tools/resolve.ts';
import { CHART, copyWithTemporalChart, HELM_BUILD_MS, PROFILES, run } from './chart.ts';
import { dependencies } from './temporal-chart.ts';

let folder: string;

beforeAll(() => resolveTool('helm'), HELM_BUILD_MS);
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'kairos-temporal-chart-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Helm that knows no repository: it fetches nothing. */
const helmOffline = (...args: string[]) =>
  run('helm', ...args, `--repository-config=${folder}/none.yaml`, `--repository-cache=${folder}/cache`);

const copied = () => {
  const copy = path.join(folder, 'checkout');
  cpSync(CHART, copy, { recursive: true, filter: (file) => !file.startsWith(path.join(CHART, 'charts')) });
  return copy;
};

describe('the chart of Temporal as a dependency', () => {
  it('is locked to the version that is asked for, by the digest that Helm takes of both', async () => {
    const [wanted, locked] = [dependencies('Chart.yaml'), dependencies('Chart.lock')];
    expect(locked).toEqual(wanted.map(({ name, version, repository }) => ({ name, version, repository })));
    const inOrder = (list: typeof wanted) =>
      list.map(({ name, version, repository, condition }) => ({ name, version, repository, condition }));
    const digest = createHash('sha256').update(JSON.stringify([inOrder(wanted), inOrder(locked)]));
    const lock = parse(readFileSync(path.join(CHART, 'Chart.lock'), 'utf8')) as { digest: string };
    expect(lock.digest).toBe(`sha256:${digest.digest('hex')}`);

    // Helm looks at the digest before it looks for the repository.
    const copy = copied();
    expect((await helmOffline('dependency', 'build', copy)).stderr).toMatch(
      /no repository definition for https:\/\/go\.temporal\.io\/helm-charts/,
    );
    writeFileSync(path.join(copy, 'Chart.lock'), stringify({ ...lock, digest: `sha256:${'0'.repeat(64)}` }));
    expect((await helmOffline('dependency', 'build', copy)).stderr).toMatch(/Chart\.lock\) is out of sync/);
  }, 30_000);

  it('is missed by Helm in a checkout, and not where it was fetched', async () => {
    const missed = await helmOffline('template', 'kairos-operator', copied());
    expect(missed.stderr).toMatch(/helm dependency build.* missing in charts\/ directory: temporal/s);
    const { stdout } = await helmOffline('dependency', 'list', copyWithTemporalChart(folder));
    expect(stdout).toMatch(/^temporal\s+1\.6\.0\s+https:\/\/go\.temporal\.io\/helm-charts\s+(unpacked|ok)/m);
  }, 30_000);
});

describe('the copy of the chart for those without a network', () => {
  const template = (profile: string) => {
    const copy = path.join(folder, 'copy');
    copyChart(copy);
    const values = path.join(folder, 'values.yaml');
    writeFileSync(values, stringify(PROFILES[profile]));
    return helmOffline('template', 'kairos-operator', copy, `--values=${values}`, '--kube-version=1.36.3');
  };

  it.each(['embedded', 'external'])('renders an %s Temporal', async (profile) => {
    expect(await template(profile)).toMatchObject({ code: 0, stderr: '' });
  });

  it('says that it lacks the chart of Temporal where that is wanted', async () => {
    const { code, stderr } = await template('chart of Temporal, PostgreSQL');
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /temporal\.enabled is true, but the chart of Temporal is not in .*helm dependency build/,
      ) as unknown,
    });
  });
});
