/** One step of a path: into a field, an entry of a list, all entries, or those of which a field equals something. */
type Step =
  | { into: 'field'; name: string }
  | { into: 'entry'; index: number }
  | { into: 'all' }
  | { into: 'matching'; fields: string[]; equals: string };

const NAME = String.raw`(?:[A-Za-z0-9_$-]|\\[.])+`;
const STEP = new RegExp(
  String.raw`[.](${NAME})|\[([0-9]+)\]|\[([*])\]|\["([^"\]]+)"\]|\[[?]\(@((?:[.]${NAME})+)==(?:"([^"]*)"|([0-9.]+|true|false))\)\]`,
  'y',
);

const unescaped = (name: string) => name.replaceAll('\\.', '.');

/**
 * The steps of a path such as `.status.conditions[?(@.type=="Ready")].status`, with or without braces around it.
 * @throws SyntaxError that names where it cannot be read. The CRD refuses such a path before.
 */
function stepsOf(path: string): Step[] {
  const inner = /^\{(.*)\}$/s.exec(path)?.[1] ?? path;
  const steps: Step[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < inner.length) {
    const from = STEP.lastIndex;
    const found = STEP.exec(inner);
    if (found === null) throw new SyntaxError(`path ${path}: cannot be read from "${inner.slice(from)}" on`);
    const [, name, index, all, key, tested, text, word] = found;
    if (name !== undefined) steps.push({ into: 'field', name: unescaped(name) });
    else if (index !== undefined) steps.push({ into: 'entry', index: Number(index) });
    else if (all !== undefined) steps.push({ into: 'all' });
    else if (key !== undefined) steps.push({ into: 'field', name: key });
    else steps.push({ into: 'matching', fields: fieldsOf(tested ?? ''), equals: text ?? word ?? '' });
  }
  return steps;
}

const fieldsOf = (path: string) =>
  [...path.matchAll(new RegExp(`[.](${NAME})`, 'g'))].map(([, name = '']) => unescaped(name));

const own = (value: unknown, name: string): unknown[] =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? [(value as Record<string, unknown>)[name]]
    : [];

function follow(value: unknown, step: Step): unknown[] {
  if (step.into === 'field') return Array.isArray(value) ? [] : own(value, step.name);
  if (!Array.isArray(value)) return [];
  switch (step.into) {
    case 'entry':
      return value.slice(step.index, step.index + 1);
    case 'all':
      return value;
    case 'matching': {
      const tested = (entry: unknown) =>
        step.fields.reduce<unknown[]>((found, name) => found.flatMap((one) => own(one, name)), [entry]);
      return value.filter((entry) => tested(entry).some((found) => asText(found) === step.equals));
    }
  }
}

/** A value as it is written in a gate: text as it is, all else as JSON. */
export const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/**
 * All values that a path leads to in an object; none where it leads nowhere.
 * @throws SyntaxError for a path that the CRD would have refused
 */
export function valuesAt(path: string, object: unknown): unknown[] {
  return stepsOf(path).reduce<unknown[]>((found, step) => found.flatMap((value) => follow(value, step)), [object]);
}
