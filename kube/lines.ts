import type { Readable } from 'node:stream';

/** The lines of a stream of text, without empty ones. An unfinished last line is dropped: its sender was cut off. */
export async function* readLines(stream: Readable): AsyncGenerator<string> {
  stream.setEncoding('utf8');
  let rest: string[] = [];
  for await (const chunk of stream as AsyncIterable<string>) {
    const lines = chunk.split('\n');
    const last = lines.pop() ?? '';
    if (lines.length > 0) {
      lines[0] = rest.join('') + (lines[0] ?? '');
      rest = [];
    }
    rest.push(last);
    for (const line of lines) if (line !== '') yield line;
  }
}
