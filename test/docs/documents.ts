import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The text of a document of the project, or of one of its `##` sections. Throws when there is none. */
export function documentText(file: string, section?: string): string {
  const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), 'utf8');
  if (section === undefined) return text;
  const [, found] = text.split(`\n## ${section}\n`);
  if (found === undefined) throw new Error(`${file} has no section ${section}`);
  return found.split('\n## ')[0] ?? '';
}

/** The command lines of the `sh` blocks, without those that are comments. */
export function commandLines(text: string): string[] {
  return [...text.matchAll(/^```sh\n(?<block>[\s\S]*?)^```$/gm)]
    .flatMap(({ groups }) => (groups?.['block'] ?? '').split('\n'))
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** The tables, each as its rows of trimmed cells, without the head. */
export function tableRows(text: string): string[][][] {
  const cells = (line: string) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  return [...text.matchAll(/(?:^\|.*\|\n)+/gm)].map(([table]) => table.trimEnd().split('\n').slice(2).map(cells));
}
