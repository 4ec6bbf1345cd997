import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { ApiContact } from '../../process/api-contact.ts';
import { askedWhenRefused } from '../../process/cluster-access.ts';

const MINUTE = 60_000;
let contact: ApiContact;
beforeEach(() => {
  jest.useFakeTimers();
  contact = new ApiContact();
});
afterEach(() => {
  jest.useRealTimers();
});

describe('the contact with the API server is', () => {
  it.each<[string, () => void, boolean]>([
    ['not known before the first answer', () => undefined, false],
    ['fresh after an answer', () => contact.called({ code: '200' }), true],
    ['fresh after a refusal, too', () => contact.called({ code: '404' }), true],
    ['fresh after a word of a watch', () => contact.heard(), true],
  ])('%s', (_, happens, fresh) => {
    happens();
    expect(contact.isFresh(10_000)).toBe(fresh);
    jest.advanceTimersByTime(10_001);
    expect(contact.isFresh(10_000)).toBe(false);
  });

  it.each<[string, () => void]>([
    ['that nobody answered', () => contact.called({ code: 'Unreachable' })],
    ['that had trouble', () => contact.called({ code: '503' })],
    ['that did not know us', () => contact.called({ code: '401' })],
    ['of a watch that failed', () => contact.watchEnded('nodes', 'failed')],
  ])('broken after a request %s', (_, happens) => {
    contact.called({ code: '200' });
    happens();
    expect(contact.isFresh(10_000)).toBe(false);
  });

  it('what it was after a request that we gave up, and a watch that ended by itself', () => {
    contact.called({ code: '200' });
    contact.called({ code: 'Aborted' });
    contact.watchEnded('nodes', 'closed');
    expect(contact.isFresh(10_000)).toBe(true);
  });
});

describe('rights are asked for again', () => {
  let asked: number;
  let wrong: string | undefined;
  const check = () =>
    askedWhenRefused(contact, () => {
      asked += 1;
      return Promise.resolve(wrong);
    });
  beforeEach(() => {
    asked = 0;
    wrong = undefined;
  });

  it('where a request was refused, and as long as one is missing', async () => {
    const ask = check();
    expect(await ask()).toBeUndefined();
    expect(asked).toBe(0);
    wrong = 'not allowed any more';
    contact.called({ code: '403' });
    expect(await ask()).toBe('not allowed any more');
    expect(await ask()).toBe('not allowed any more');
    wrong = undefined;
    expect(await ask()).toBeUndefined();
    expect(asked).toBe(3);
    await ask();
    expect(asked).toBe(3);
  });

  it('after ten minutes', async () => {
    const ask = check();
    jest.advanceTimersByTime(9 * MINUTE);
    await ask();
    expect(asked).toBe(0);
    jest.advanceTimersByTime(MINUTE);
    await ask();
    await ask();
    expect(asked).toBe(1);
  });
});
