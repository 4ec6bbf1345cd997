import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { prePullImage } from '../../activities/pre-pull.ts';
import { MINUTE, SECOND, StepWorld, elapse } from './step-world.ts';

let world: StepWorld;
beforeEach(() => {
  jest.useFakeTimers();
  world = new StepWorld();
});
afterEach(() => {
  jest.useRealTimers();
});

describe('the pull on a node that goes', () => {
  it.each([
    ['deleted', () => world.removeNode()],
    ['replaced', () => world.node({ uid: 'uid-2' })],
  ])('ends at once when it is %s, and leaves no pod', async (_, change) => {
    const step = world.run(prePullImage);
    await elapse(MINUTE);
    expect({ pods: world.pods, answer: step.answer }).toEqual({ pods: ['kairos-pull'], answer: undefined });
    change();
    await elapse(SECOND);
    expect(step.error).toBeUndefined();
    expect(step.answer).toEqual({
      gone: true,
      message: expect.stringMatching(/^node n-1 was deleted, or another one/),
    });
    expect(world.pods).toEqual([]);
  });

  it('goes on while only the watch does not show the node', async () => {
    world.watching = false;
    const { nodes } = world.view;
    const hidden = { ...world.view, nodes: { ...nodes, get: () => undefined } };
    const step = world.run((_view, hand) => prePullImage(hidden, hand));
    await elapse(MINUTE);
    expect({ pods: world.pods, answer: step.answer }).toEqual({ pods: ['kairos-pull'], answer: undefined });
  });
});
