import { isMap, isScalar, parseDocument, type Document, type Node, type Pair, type YAMLMap } from 'yaml';

/** A value of a chart, as its documentation shows it. */
export interface DocumentedValue {
  /** As `helm --set` takes it: `agent.image.tag`. */
  readonly path: string;
  /** As JSON. */
  readonly standard: string;
  readonly meaning: string;
}

/**
 * Every value of a `values.yaml`, with the comment above it; what is said of a map stands in a line of its own. A map with
 * a comment in which nothing has one is a value as a whole, such as compute resources. Throws for a value that has none.
 */
export function documentedValues(text: string): DocumentedValue[] {
  const document = parseDocument(text);
  if (!isMap(document.contents)) throw new Error('values.yaml: not a map');
  // The comment above the first key belongs to the document.
  return valuesOf(document, document.contents as YAMLMap<Node, Node>, [], document.commentBefore ?? '');
}

function valuesOf(
  document: Document,
  map: YAMLMap<Node, Node>,
  parents: readonly string[],
  commentOfFirst: string,
): DocumentedValue[] {
  return map.items.flatMap((pair, index) => {
    const path = [...parents, keyOf(pair)];
    const { value } = pair;
    const comment = [index === 0 ? commentOfFirst : '', pair.key.commentBefore ?? ''].join('\n');
    const meaning = sentence(comment);
    if (isMap(value) && (meaning === '' || explains(value as YAMLMap<Node, Node>))) {
      const own = meaning === '' ? [] : [{ path: path.join('.'), standard: '', meaning }];
      return [...own, ...valuesOf(document, value as YAMLMap<Node, Node>, path, value.commentBefore ?? '')];
    }
    if (meaning === '')
      throw new Error(`values.yaml: ${path.join('.')} has no comment above it that says what it means`);
    return [{ path: path.join('.'), standard: JSON.stringify(value?.toJS(document)), meaning }];
  });
}

const explains = (map: YAMLMap<Node, Node>): boolean =>
  Boolean(map.commentBefore) || map.items.some(({ key }) => Boolean(key.commentBefore));

function keyOf({ key }: Pair<Node, Node | null>): string {
  if (!isScalar(key)) throw new Error('values.yaml: a key that is not a word');
  return String(key.value);
}

function sentence(comment: string): string {
  return comment
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ');
}

/** The values as rows of a Markdown table. */
export function valuesTable(values: readonly DocumentedValue[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  const shown = (standard: string) => {
    // A list of some length makes every row of the table as wide.
    if (standard.length > 120) return 'see values.yaml';
    return standard === '' ? '' : `\`${cell(standard)}\``;
  };
  const rows = values.map(({ path, standard, meaning }) => `| \`${path}\` | ${shown(standard)} | ${cell(meaning)} |`);
  return ['| value | default | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}
