import { expect, it } from '@jest/globals';
import { plainLog } from '../../process/plain-log.ts';

it.each<[string, object, string]>([
  ['alone', {}, 'waiting\n'],
  ['with the reason after it', { reason: 'no worker answers' }, 'waiting: no worker answers\n'],
  ['with fields by their names', { node: 'worker-1', tries: 2 }, 'waiting: node worker-1, tries 2\n'],
  ['whose reason has lines', { reason: 'a\nb' }, 'waiting: a\nb\n'],
])('a sentence is told %s', (_, fields, expected) => {
  let said = '';
  plainLog('info', (text) => (said += text)).info(fields, 'waiting');
  expect(said).toBe(expected);
});
