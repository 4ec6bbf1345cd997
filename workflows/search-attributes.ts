import { defineSearchAttributeKey } from '@temporalio/common';
import { upsertSearchAttributes } from '@temporalio/workflow';
import { SEARCH_ATTRIBUTE_NAMES } from '../api/names.ts';
import type { RolloutContext, Timing } from '../api/messages.ts';

/** PostgreSQL's columns for these hold 255 characters: values are cut at 200. */
const SEARCH_ATTRIBUTES = {
  cluster: defineSearchAttributeKey(SEARCH_ATTRIBUTE_NAMES.cluster, 'KEYWORD'),
  rollout: defineSearchAttributeKey(SEARCH_ATTRIBUTE_NAMES.rollout, 'KEYWORD'),
  node: defineSearchAttributeKey(SEARCH_ATTRIBUTE_NAMES.node, 'KEYWORD'),
  phase: defineSearchAttributeKey(SEARCH_ATTRIBUTE_NAMES.phase, 'KEYWORD'),
  target: defineSearchAttributeKey(SEARCH_ATTRIBUTE_NAMES.target, 'KEYWORD'),
} as const;

/** Search attributes for a child of a rollout; none where Temporal does not know them. */
export function attributesFor(context: RolloutContext & { timing: Timing }, node?: string) {
  if (!context.timing.searchAttributes) return {};
  return {
    typedSearchAttributes: [
      { key: SEARCH_ATTRIBUTES.cluster, value: context.cluster.id.slice(0, 200) },
      { key: SEARCH_ATTRIBUTES.rollout, value: context.rolloutID.slice(0, 200) },
      { key: SEARCH_ATTRIBUTES.target, value: context.spec.image.slice(0, 200) },
      ...(node === undefined ? [] : [{ key: SEARCH_ATTRIBUTES.node, value: node.slice(0, 200) }]),
    ],
  };
}

/** Shows the phase in lists. One history event, so it is called when a workflow begins and ends, not at each step. */
export function showPhase(timing: Timing, phase: string): void {
  if (timing.searchAttributes) upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.phase, value: phase.slice(0, 200) }]);
}
