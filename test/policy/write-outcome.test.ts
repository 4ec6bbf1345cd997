import { describe, expect, it } from '@jest/globals';
import { type WriterEnd, writeOutcome } from '../../policy/write-outcome.ts';

const failed = (exitCode: number, more: Partial<NonNullable<WriterEnd['terminated']>> = {}): WriterEnd => ({
  phase: 'Failed',
  started: true,
  terminated: { exitCode, ...more },
});

describe('the pod that writes an image', () => {
  it.each(['Pending', 'Running', 'Unknown'])('has not ended while it is %s', (phase) => {
    expect(writeOutcome('n-1', { phase, started: true })).toBeUndefined();
  });

  it.each<[string, WriterEnd, string]>([
    ['has written it', { phase: 'Succeeded', started: true }, 'Written'],
    ['was refused by kubelet', { phase: 'Failed', reason: 'OutOfpods', started: false }, 'Refused'],
    ['was evicted before it began', { phase: 'Failed', reason: 'Evicted', started: false }, 'Refused'],
    ['came up in another boot', failed(76, { message: 'made for boot a' }), 'AnotherBoot'],
  ])('%s', (_, pod, outcome) => {
    expect(writeOutcome('n-1', pod)).toEqual({ outcome });
  });

  it('touched nothing where it could not tell in which boot it is', () => {
    expect(writeOutcome('n-1', failed(77, { message: 'nsenter: denied' }))).toEqual({
      outcome: 'NotTouched',
      message: expect.stringMatching(/^node n-1: .*nsenter: denied\); its image was not touched: see whether/),
    });
  });

  it.each([
    [74, /lock of this boot .*\(words\); its image was not touched: see whether its \/run/],
    [78, /does not fit \(words\); its image was not touched: make room on the state partition/],
    [79, /not what was planned for \(words\); its image was not touched: .*kairos.io\/trusted-boot=true/],
  ])('touched nothing where it ended with %i', (code, message) => {
    expect(writeOutcome('n-1', failed(code, { message: ' words\n' }))).toEqual({
      outcome: 'NotTouched',
      message: expect.stringMatching(message),
    });
  });

  it.each<[string, WriterEnd, RegExp]>([
    [
      'an error',
      failed(13, { message: ' no space \n' }),
      /^node n-1: kairos-agent upgrade ended with 13: no space\. A/,
    ],
    ['an error without a word', failed(1), /ended with 1: it left no message\./],
    [
      'want of memory',
      failed(137, { reason: 'OOMKilled' }),
      /killed by the kernel for want of memory \(OOMKilled, exit/,
    ],
    ['a kill', failed(137, { reason: 'Error' }), /was killed \(exit code 137, as by SIGKILL\)/],
    [
      'an eviction',
      { ...failed(137), reason: 'Evicted', message: 'The node was low on resource: memory.' },
      /was cut off when its pod was ended by kubelet \(Evicted: The node was low on resource: memory\.\)/,
    ],
    ['a pod whose container says nothing', { phase: 'Failed', started: true }, /ended with no exit code/],
  ])('failed by %s, which says what to do', (_, pod, message) => {
    const outcome = writeOutcome('n-1', pod);
    expect(outcome).toEqual({ outcome: 'Failed', message: expect.stringMatching(message) });
    expect(outcome).toMatchObject({ message: expect.stringMatching(/reboot the node, and start the rollout again/) });
  });

  it('keeps the end of a long log', () => {
    const outcome = writeOutcome('n-1', failed(1, { message: `${'x'.repeat(5000)} the reason` }));
    expect(outcome).toMatchObject({ message: expect.stringMatching(/: x{1489} the reason\. A slot/) });
  });
});
