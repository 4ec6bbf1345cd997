import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { copyChart } from './copy-chart.ts';
import { PINNED } from './pinned.ts';
import { resolveTool, ToolError } from './resolve.ts';

const ROOT = join(import.meta.dirname, '..');
const INSTALLER = join(ROOT, 'dist', 'install.yaml');
/** Of the plain manifests, whose namespace is not a matter of choice. */
export const NAMESPACE = 'kairos-system';

/** A call that cannot be carried out, with what to type instead. */
export class InstallerError extends Error {
  override readonly name = 'InstallerError';
}

/** The name of an image in parts, as the values of the chart take it: one of tag and digest is empty. */
export interface ImageName {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

const NAME =
  /^(?<repository>(?:[\w.-]+(?::\d+)?\/)?[a-z0-9._/-]+)(?::(?<tag>\w[\w.-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}))?$/;

/** @throws InstallerError for what is no name of an image with a tag or a digest; `variable` is where it was given */
export function readImage(variable: string, text: string): ImageName {
  const { repository = '', tag = '', digest = '' } = NAME.exec(text)?.groups ?? {};
  if (repository === '' || (tag === '' && digest === ''))
    throw new InstallerError(
      `${variable}=${text} does not name an image with its tag: write ${variable}=REGISTRY/NAME:TAG or ${variable}=REGISTRY/NAME@sha256:…`,
    );
  return { repository, tag: digest === '' ? tag : '', digest };
}

/**
 * The images of operator and agent, from IMG and AGENT_IMG. Without the second the agent's is that of the operator with
 * `-agent` behind its name and the same tag.
 * @throws InstallerError that says what to set
 */
export function readImages(env: NodeJS.ProcessEnv): { operator: ImageName; agent: ImageName } {
  const { IMG = '', AGENT_IMG = '' } = env;
  if (IMG === '')
    throw new InstallerError(
      'IMG is not set: no images are published yet, so build and push yours, and write IMG=REGISTRY/kairos-operator:TAG (and AGENT_IMG=…, unless it is REGISTRY/kairos-operator-agent:TAG)',
    );
  const operator = readImage('IMG', IMG);
  if (AGENT_IMG !== '') return { operator, agent: readImage('AGENT_IMG', AGENT_IMG) };
  if (operator.digest !== '')
    throw new InstallerError(`IMG=${IMG} names one image by its digest: write AGENT_IMG=…, too`);
  return { operator, agent: { ...operator, repository: `${operator.repository}-agent` } };
}

/** The flags of Helm for images; `root` is the value that holds `image`, with its dot. */
function imageFlags(root: string, { repository, tag, digest }: ImageName): string[] {
  const values = { repository, tag, digest };
  return Object.entries(values).map(([key, value]) => `--set-string=${root}image.${key}=${value}`);
}

/**
 * What `helm template` makes of the chart for the namespace of the plain manifests. Further flags are those of the
 * variable CHART_ARGS, separated by spaces, and `args`.
 * @throws InstallerError with Helm's own words
 */
export async function renderChart(
  images: { operator: ImageName; agent: ImageName },
  ...args: string[]
): Promise<string> {
  const given = (process.env['CHART_ARGS'] ?? '').split(/\s+/).filter((flag) => flag !== '');
  const flags = [
    `--namespace=${NAMESPACE}`,
    `--kube-version=${PINNED['kube-apiserver'].version}`,
    ...imageFlags('', images.operator),
    ...imageFlags('agent.', images.agent),
    ...given,
    ...args,
  ];
  const helm = await resolveTool('helm');
  const folder = await mkdtemp(join(tmpdir(), 'kairos-installer-'));
  try {
    const chart = join(folder, 'kairos-operator');
    copyChart(chart);
    const options = { maxBuffer: 64 * 1024 * 1024 };
    return (await promisify(execFile)(helm, ['template', 'kairos-operator', chart, ...flags], options)).stdout;
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new InstallerError(stderr?.trim() || String(error), { cause: error });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** All that the plain manifests install: the operator's namespace, and the chart without its hooks, which are Helm's. */
export async function renderInstaller(
  images: { operator: ImageName; agent: ImageName },
  ...args: string[]
): Promise<string> {
  const namespace = await readFile(join(ROOT, 'deploy', 'operator', 'namespace.yaml'), 'utf8');
  return `${namespace}${await renderChart(images, '--no-hooks', ...args)}`;
}

async function main(): Promise<void> {
  const text = await renderInstaller(readImages(process.env));
  await mkdir(join(ROOT, 'dist'), { recursive: true });
  await writeFile(`${INSTALLER}.half`, text);
  await rename(`${INSTALLER}.half`, INSTALLER);
  console.log(relative(ROOT, INSTALLER));
}

/** Runs the body of a command: what a person can mend is told in a line, and is exit code 1. */
export async function runCommand(body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof InstallerError || error instanceof ToolError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}

if (import.meta.main) await runCommand(main);
