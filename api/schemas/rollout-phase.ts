/** Where a rollout stands. The last four are ends: `Planned` that of a dry run, which touches no node. */
export const ROLLOUT_PHASES = [
  'Pending',
  'Planning',
  'Running',
  'Paused',
  'Cancelling',
  'Completed',
  'Failed',
  'Cancelled',
  'Planned',
] as const;
