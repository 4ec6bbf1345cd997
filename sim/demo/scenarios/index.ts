import { canaryFailure } from './canary-failure.ts';
import { pauseResumeRetarget } from './pause-resume-retarget.ts';
import type { Scenario } from './scenario.ts';
import { singleNode } from './single-node.ts';

/** All scenarios, in the order in which they are listed. */
export const SCENARIOS: readonly Scenario[] = [canaryFailure, pauseResumeRetarget, singleNode];
