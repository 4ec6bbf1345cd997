import type { KairosNodeStatus, Verdict } from '../../api/types.ts';
import type { TalkingNode } from '../../policy/node-events.ts';

export const at = (time: string) => Date.parse(`2026-03-01T${time}Z`);
export const NOW = at('10:10:00');
const REQUEST = {
  kind: 'NodeOpUpgrade',
  namespace: 'fleet',
  name: 'v4',
  uid: 'u',
  generation: 2,
  attempt: 1,
} as const;
export const HAND = {
  rollout: 'rollout/x',
  request: REQUEST,
  image: 'quay.io/kairos/hadron:v4.0.3',
  version: 'v4.0.3',
  from: 'v4.0.2',
  bootID: 'boot-1',
  startedAt: '2026-03-01T10:00:00Z',
};

export const node = (status: KairosNodeStatus, uid = 'node-uid'): TalkingNode => ({ name: 'worker-1', uid, status });
export const inStep = (step: KairosNodeStatus['step'], message: string, more: KairosNodeStatus = {}) =>
  node({
    upgradeState: 'InProgress',
    inHand: HAND,
    step: step ?? 'Cordon',
    stepSince: '2026-03-01T10:01:00Z',
    message,
    workflowID: 'node/x/1',
    bootID: 'boot-1',
    ...more,
  });
export const ended = (verdict: Verdict, message: string, more: KairosNodeStatus = {}) =>
  node({
    upgradeState: 'Failed',
    lastAttempt: {
      rollout: 'rollout/x',
      request: REQUEST,
      specGeneration: 1,
      image: HAND.image,
      verdict,
      message,
      finishedAt: '2026-03-01T10:08:00Z',
    },
    ...more,
  });

export const reasons = (news: { reason: string }[]) => news.map(({ reason }) => reason);
