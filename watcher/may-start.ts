import type { WatcherContext } from './context.ts';

/** The operator is being uninstalled: nothing is started. Asked for again: that may be refused, or given up. */
class UninstallingError extends Error {
  override readonly name = 'UninstallingError';
}

/**
 * To be asked right before a rollout is started, which cannot be taken back: whether the uninstall program holds its
 * Lease, read live.
 * @throws UninstallingError while it does, KubeError when that cannot be known
 */
export async function mustMayStart({ uninstall, namespace }: WatcherContext): Promise<void> {
  const holder = await uninstall.now();
  if (holder === undefined) return;
  throw new UninstallingError(
    `the operator is being uninstalled (${holder} holds the Lease ${namespace}/kairos-uninstall): not started; if nobody uninstalls it any more, this goes on within a minute`,
  );
}
