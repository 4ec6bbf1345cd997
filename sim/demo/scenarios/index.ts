import { canaryFailure } from './canary-failure.ts';
import { controlPlaneQuorum } from './control-plane-quorum.ts';
import { failureBudget } from './failure-budget.ts';
import { hostingNodeLast } from './hosting-node-last.ts';
import { pauseResumeRetarget } from './pause-resume-retarget.ts';
import type { Scenario } from './scenario.ts';
import { singleNode } from './single-node.ts';
import { twoRollouts } from './two-rollouts.ts';
import { windowClosing } from './window-closing.ts';

/** All scenarios, in the order in which they are listed. */
export const SCENARIOS: readonly Scenario[] = [
  canaryFailure,
  windowClosing,
  failureBudget,
  pauseResumeRetarget,
  twoRollouts,
  hostingNodeLast,
  controlPlaneQuorum,
  singleNode,
];
