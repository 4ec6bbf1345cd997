import { CancellationScope, isCancellation, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { NodeInHand, NodeResult, NodeUpgradeInput } from '../api/messages.ts';
import type { Verdict } from '../api/types.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { showPhase } from './search-attributes.ts';

/**
 * Takes one node from its old image to a verdict. Reads as the runbook of a careful person; each step is an activity
 * that may be repeated.
 *
 * Until the upgrade Job exists a cancel puts the node back as it was. From then on the node is taken to its verdict
 * whatever happens, because a machine with a written slot must be rebooted and looked at; the cancel is remembered
 * in the result.
 */
export async function nodeUpgrade(input: NodeUpgradeInput): Promise<NodeResult> {
  const { ask, call, wait } = activitiesFor(input.timing);
  const name = input.node.name;
  const show = (text: string) => setCurrentDetails(`**${name}** → \`${input.target.version}\`\n\n${text}`);

  show('asking the gates');
  const gate = await ask.checkGates(input);
  if (gate.answer === 'Wait') return { node: name, outcome: 'NotStarted', message: gate.reason };
  if (gate.answer === 'Done') {
    if (input.request.kind === 'KairosNode')
      await call.settleNode({ ...input, verdict: gate.verdict, message: gate.message });
    return { node: name, outcome: 'Ended', verdict: gate.verdict, message: gate.message };
  }

  const { timing: _timing, ...context } = input;
  const hand: NodeInHand = {
    ...context,
    workflowID: workflowInfo().workflowId,
    bootID: gate.bootID,
    startedAt: new Date().toISOString(),
    ...(gate.from === undefined ? {} : { from: gate.from }),
  };
  const giveBack = (verdict: Verdict, message: string) =>
    CancellationScope.nonCancellable(() => call.endNode({ hand, verdict, message }));

  try {
    show('marking the node as ours');
    const mark = await wait.markNode(hand);
    if (mark.outcome === 'Full') return { node: name, outcome: 'NotStarted', message: mark.reason };
    showPhase(input.timing, 'Disrupting');
    if (hand.spec.upgradeActive) {
      show('draining');
      await call.cordonNode(hand);
      const drain = await wait.drainNode(hand);
      if (drain.outcome === 'Failed') return await giveBack('Failed', drain.message);
      if (drain.outcome === 'BootChanged') {
        await giveBack('Cancelled', 'it rebooted by itself before its image was touched: tried again');
        return { node: name, outcome: 'NotStarted', message: `node ${name} rebooted by itself` };
      }
    }
  } catch (error) {
    if (isCancellation(error)) {
      await giveBack('Cancelled', 'cancelled before its image was touched: back in service');
      throw error;
    }
    return giveBack('Failed', `${errorText(error)}; its image was not touched`);
  }

  if (CancellationScope.current().consideredCancelled) {
    await giveBack('Cancelled', 'cancelled before its image was touched: back in service');
    return {
      node: name,
      outcome: 'Ended',
      verdict: 'Cancelled',
      message: 'cancelled before its image was touched',
      cancelled: true,
    };
  }
  const result = await CancellationScope.nonCancellable(() => takeToVerdict(input, hand, show));
  const cancelled = CancellationScope.current().consideredCancelled;
  showPhase(input.timing, result.verdict ?? result.outcome);
  show(`${result.verdict ?? ''}: ${result.message}`);
  return cancelled ? { ...result, cancelled } : result;
}

/** From the upgrade Job on: write, reboot, verify, soak, give back. */
async function takeToVerdict(
  input: NodeUpgradeInput,
  hand: NodeInHand,
  show: (text: string) => void,
): Promise<NodeResult> {
  const { call, wait } = activitiesFor(input.timing);
  const end = (verdict: Verdict, message: string) => call.endNode({ hand, verdict, message });
  try {
    if (hand.spec.upgradeActive) {
      show('writing the image');
      const written = await wait.writeImage({ hand, step: 'upgrade' });
      if (written.outcome === 'NotWritten') return await end('Failed', written.message);
      if (written.outcome === 'Failed') return await end('UpgradeFailed', written.message);

      show('rebooting');
      const reboot = written.outcome === 'BootChanged' ? written : await wait.rebootNode(hand);
      show(reboot.outcome === 'BootChanged' ? 'verifying the new boot' : 'judging a node that did not reboot');
      const judged = await wait.verifyNode(hand);
      if (judged.verdict !== 'Succeeded') return await end(judged.verdict, judged.message);

      show('soaking');
      const soaked = await wait.soakNode(hand);
      if (soaked.outcome === 'Unsteady') return await end('Lost', soaked.message);
      hand.bootID = judged.bootID;
      if (!hand.spec.upgradeRecovery) return await end('Succeeded', judged.message);
    }
    show('writing the recovery image');
    const recovery = await wait.writeImage({ hand, step: 'recovery' });
    return recovery.outcome === 'Written'
      ? await end('Succeeded', `runs ${hand.target.version}; the recovery image is written, too`)
      : await end(
          'UpgradeFailed',
          recovery.outcome === 'BootChanged'
            ? 'the node rebooted while its recovery image was written'
            : recovery.message,
        );
  } catch (error) {
    return end('Unverified', errorText(error));
  }
}
