import { readFileSync, existsSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** One import of a file. */
export interface Import {
  /** The importing file, from the root of the repository. */
  file: string;
  /** The imported file from that root, or the package as it is written. */
  target: string;
  /** Whether all of it is gone at run time. */
  typeOnly: boolean;
}

/** All .ts files of a room, from the root of the repository. */
export function filesOf(room: string): string[] {
  // A room that the design names and nobody has moved into yet.
  if (!existsSync(join(ROOT, room))) return [];
  return readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(room, file))
    .sort();
}

/** A text without its comments; strings are kept, also where they hold what looks like a comment. */
export function withoutComments(text: string): string {
  const tokens = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  return text.replaceAll(tokens, (token) => (token.startsWith('/') ? ' ' : token));
}

/** The imports and re-exports of a file, dynamic ones and types named by `import('…')` included. */
export function importsIn(file: string, text: string): Import[] {
  const code = withoutComments(text);
  const found = [
    ...code.matchAll(/(?:^|[;}\n])\s*(?:import|export)\s+(type\s)?[\w*\s{},$]*?\sfrom\s*(['"])(.+?)\2/g),
    ...code.matchAll(/(?:^|[;}\n])\s*(?:import|export)\s*(type\s)?[{*][\w*\s{},$]*?from\s*(['"])(.+?)\2/g),
    ...code.matchAll(/(?:^|[;}\n])\s*import\s*()(['"])(.+?)\2/g),
    ...code.matchAll(/\bimport\(()\s*(['"`])(.+?)\2/g),
    ...code.matchAll(/\brequire\(()\s*(['"`])(.+?)\2/g),
  ];
  const imports = found.map(([, type, , specifier = '']) => ({
    file,
    target: specifier.startsWith('.') ? relative('/', join('/', dirname(file), specifier)) : specifier,
    typeOnly: Boolean(type),
  }));
  const once = new Map(imports.map((one) => [`${one.target} ${one.typeOnly}`, one]));
  return [...once.values()];
}

export const importsOf = (room: string): Import[] =>
  filesOf(room).flatMap((file) => importsIn(file, readFileSync(join(ROOT, file), 'utf8')));
