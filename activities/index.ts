import type { NodeInHand } from '../api/messages.ts';
import { answerCheck } from './answer-check.ts';
import type { ClusterView } from './cluster-view.ts';
import { drainNode } from './drain.ts';
import { endNode, settleNode } from './end.ts';
import { toFailure } from './failures.ts';
import { checkGates } from './gates.ts';
import { readHosting } from './hosting.ts';
import { findJoined } from './joined.ts';
import { waitForHealth } from './health-gate.ts';
import { readLateVerdicts } from './late-verdicts.ts';
import { cordonNode, markNode } from './mark.ts';
import { keepingLease } from './node-lease.ts';
import { waitForControlPlane, waitForPlace } from './place.ts';
import { planRollout } from './plan.ts';
import { prePullImage } from './pre-pull.ts';
import { rebootNode } from './reboot.ts';
import { confirmRequest, removePulls, reportRollout } from './report.ts';
import { settleWave } from './settle-wave.ts';
import { soakNode } from './soak.ts';
import { verifyNode } from './verify.ts';
import { soakWave } from './wave-soak.ts';
import { writeImage } from './write-image.ts';

/** The steps of an upgrade for one cluster. Every one may be repeated at any point; each says how. */
export function createActivities(view: ClusterView) {
  /** Gives a step its view, and its errors the form that the engine acts on. */
  const step =
    <Input, Output>(run: (view: ClusterView, input: Input) => Promise<Output> | Output, mustSucceed = false) =>
    async (input: Input): Promise<Output> => {
      try {
        return await run(view, input);
      } catch (error) {
        throw toFailure(error, mustSucceed);
      }
    };
  /** A step of a node in hand: other tools keep off the node as long as it takes. */
  const inHand = <Input extends NodeInHand | { hand: NodeInHand }, Output>(
    run: (view: ClusterView, input: Input) => Promise<Output>,
  ) => step((_view, input: Input) => keepingLease(view, 'hand' in input ? input.hand : input, () => run(view, input)));
  return {
    answerCheck: step(answerCheck),
    confirmRequest: step(confirmRequest),
    planRollout: step(planRollout),
    findJoined: step(findJoined),
    reportRollout: step(reportRollout, true),
    removePulls: step(removePulls),
    prePullImage: step(prePullImage),
    waitForPlace: step(waitForPlace),
    waitForControlPlane: step(waitForControlPlane),
    readHosting: step(readHosting),
    waitForHealth: step(waitForHealth),
    checkGates: step(checkGates),
    markNode: step(markNode),
    cordonNode: inHand(cordonNode),
    drainNode: inHand(drainNode),
    writeImage: inHand(writeImage),
    rebootNode: inHand(rebootNode),
    verifyNode: inHand(verifyNode),
    soakNode: inHand(soakNode),
    endNode: step(endNode, true),
    settleNode: step(settleNode, true),
    settleWave: step(settleWave),
    soakWave: step(soakWave),
    readLateVerdicts: step(readLateVerdicts),
  };
}

export type Activities = ReturnType<typeof createActivities>;
