import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const TEXT = /^(licen[sc]e|copying|notice)/i;

/**
 * The licences of the packages that a bundle holds code of, which most of them ask to go along. A package without a text
 * is named with what its package.json says.
 * @param packages folders from the root of the repository
 */
export async function licensesOf(packages: readonly string[]): Promise<string> {
  const parts = packages.map(async (folder) => {
    const manifest = await readFile(join(ROOT, folder, 'package.json'), 'utf8');
    const { name, version, license } = JSON.parse(manifest) as { name: string; version: string; license?: string };
    const files = (await readdir(join(ROOT, folder), { withFileTypes: true }))
      .filter((entry) => entry.isFile() && TEXT.test(entry.name))
      .map((entry) => entry.name)
      .sort();
    const texts = await Promise.all(files.map((file) => readFile(join(ROOT, folder, file), 'utf8')));
    return [`${name} ${version}: ${license ?? 'see below'}`, ...texts.map((text) => text.trim())].join('\n\n');
  });
  return `${(await Promise.all(parts)).join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}
