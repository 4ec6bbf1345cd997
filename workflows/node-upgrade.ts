import { CancelledFailure } from '@temporalio/common';
import { CancellationScope, isCancellation, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { Leftover, NodeInHand, NodeResult, NodeUpgradeInput } from '../api/messages.ts';
import type { CordonAnswer } from '../activities/mark.ts';
import type { AttemptEvidence, Verdict } from '../api/types.ts';
import { activitiesFor } from './activity-proxies.ts';
import { errorText } from './error-text.ts';
import { NodeControl, within } from './node-control.ts';
import { skippedText } from './request-texts.ts';
import { showPhase } from './search-attributes.ts';
import { beginStep } from './step-times.ts';

/**
 * Takes one node from its old image to a verdict. Reads as the runbook of a careful person; each step is an activity
 * that may be repeated.
 *
 * Until the upgrade Job exists a cancel puts the node back as it was. From then on the node is taken to its verdict
 * whatever happens, because a machine with a written slot must be rebooted and looked at; the cancel is remembered
 * in the result. What an earlier workflow left behind on the node is finished first, by the same rule.
 */
export async function nodeUpgrade(input: NodeUpgradeInput): Promise<NodeResult> {
  const name = input.node.name;
  const control = new NodeControl(input);
  const show = (text: string) => {
    setCurrentDetails(`**${name}** → \`${input.target.version}\`\n\n${text}`);
    return activitiesFor(input.timing, text.slice(0, 200));
  };

  const { ask, call } = show('asking the gates');
  const gate = await ask.checkGates(input);
  if (gate.answer === 'Wait') return { node: name, outcome: 'NotStarted', message: gate.reason };
  if (gate.answer === 'Done') {
    // What a person asked of this node by hand is settled; and a refusal is told where the node is looked at.
    if (
      gate.recorded !== true &&
      gate.gone !== true &&
      (input.request.kind === 'KairosNode' || gate.verdict === 'Failed')
    )
      await call.settleNode({ ...input, verdict: gate.verdict, message: gate.message });
    const { verdict, message, gone, supersededBy } = gate;
    return {
      node: name,
      outcome: 'Ended',
      verdict,
      message,
      ...(gone && { gone }),
      ...(supersededBy && { supersededBy }),
    };
  }

  if (gate.answer === 'Recover') return finishLeftover(input, gate.leftover, show);
  // Asked while the gates were: the wave does what is to be done about it, the node was not touched.
  if (control.skip !== undefined || control.isHeldBack())
    return { node: name, outcome: 'NotStarted', message: `node ${name} was withdrawn before it was touched` };

  const { timing: _timing, recover: _recover, ...context } = input;
  const hand: NodeInHand = {
    ...context,
    workflowID: workflowInfo().workflowId,
    bootID: gate.bootID,
    startedAt: new Date().toISOString(),
    ...(gate.from === undefined ? {} : { from: gate.from }),
    ...(gate.takesOver === undefined ? {} : { takesOver: gate.takesOver }),
    ...(gate.recoveryOnly === true ? { spec: { ...input.spec, upgradeActive: false } } : {}),
  };
  const withdrawn = await within(control.scope, () => takeOut(input, hand, show, control));
  if (withdrawn !== undefined) return withdrawn;
  control.passPoint(hand.spec.upgradeActive ? 'its image is being written' : 'its recovery image is being written');
  return keepTo(input, show, () => takeToVerdict(hand, show, hand.spec.upgradeActive ? 'write' : 'recovery'));
}

/** Says in the Temporal UI what is done now, and gives the steps that do it, named like that there. */
type Show = (text: string) => ReturnType<typeof activitiesFor>;

/** Marks, cordons and drains; answers how the node ended where it does not come to the upgrade Job. */
async function takeOut(
  input: NodeUpgradeInput,
  hand: NodeInHand,
  show: Show,
  control: NodeControl,
): Promise<NodeResult | undefined> {
  const { name } = hand.node;
  const giveBack = (verdict: Verdict, message: string, unrecorded = false) =>
    CancellationScope.nonCancellable(() => show('giving back').call.endNode({ hand, verdict, message, unrecorded }));
  try {
    beginStep(hand, 'Mark');
    const drains = hand.spec.upgradeActive ? ({ drains: true } as const) : {};
    const mark = await show('marking the node as ours').wait.markNode({ ...hand, ...drains });
    if (mark.outcome === 'Full') return { node: name, outcome: 'NotStarted', message: mark.reason };
    if (mark.outcome === 'Refused') {
      const { message } = mark;
      await show('recording why it was not touched').call.settleNode({ ...input, verdict: 'Failed', message });
      return { node: name, outcome: 'Ended', verdict: 'Failed', message };
    }
    if (control.isHeldBack()) {
      await giveBack('Cancelled', 'paused before it was cordoned: tried again after the pause', true);
      return { node: name, outcome: 'NotStarted', message: `node ${name} was marked when the pause came` };
    }
    showPhase(input.timing, 'Disrupting');
    if (hand.spec.upgradeActive) {
      beginStep(hand, 'Cordon');
      if (mark.notReadyBefore !== undefined) hand.notReadyBefore = mark.notReadyBefore;
      const cordoned = await show('cordoning').call.cordonNode(hand);
      keepWhatCordonSaw(hand, cordoned);
      beginStep(hand, 'Drain');
      const drain = await show('draining').wait.drainNode(hand);
      if (drain.outcome !== 'BootChanged' && drain.drain !== undefined) hand.drain = drain.drain;
      if (drain.outcome === 'Failed') return await giveBack('Failed', drain.message);
      if (drain.outcome === 'Skipped') return { ...(await giveBack('Skipped', drain.message)), tolerated: true };
      if (drain.outcome === 'BootChanged') {
        await giveBack('Cancelled', 'it rebooted by itself before its image was touched: tried again', true);
        return { node: name, outcome: 'NotStarted', message: `node ${name} rebooted by itself` };
      }
    }
  } catch (error) {
    // An attempt that fails after the cancel is not repeated: what it failed with is not why the node is given back.
    if (!CancellationScope.current().consideredCancelled && !isCancellation(error))
      return giveBack('Failed', `${errorText(error)}; its image was not touched`);
  }
  if (!CancellationScope.current().consideredCancelled) return undefined;
  if (control.skip !== undefined)
    return { ...(await giveBack('Skipped', `${skippedText(control.skip)}; back in service`)), skipped: true };
  await giveBack('Cancelled', 'cancelled before its image was touched: back in service');
  throw new CancelledFailure(`node ${name}: cancelled before its image was touched`);
}

/** What is known of a node since it is cordoned; histories of earlier versions hold no answer. */
function keepWhatCordonSaw(hand: NodeInHand, seen: CordonAnswer | undefined): void {
  if (seen?.notReadyBefore.length) hand.notReadyBefore = seen.notReadyBefore;
  else delete hand.notReadyBefore;
  if (seen?.version !== undefined) hand.cordonedVersion = seen.version;
}

/**
 * Finishes what an earlier workflow of this node left behind: terminated, or lost with Temporal's database. The result
 * counts for the rollout that asks when it was the same attempt; otherwise the node is tried again.
 */
async function finishLeftover(input: NodeUpgradeInput, leftover: Leftover, show: Show): Promise<NodeResult> {
  const { call, wait } = show('finishing what an earlier workflow left behind');
  const { hand, resume } = leftover;
  const { name } = hand.node;
  const again = (message: string): NodeResult => ({ node: name, outcome: 'NotStarted', message });
  const giveBack = (message: string) =>
    CancellationScope.nonCancellable(() => call.endNode({ hand, verdict: 'Cancelled', message, unrecorded: true }));
  if (resume === 'giveBack') {
    const message = 'its workflow had ended before its image was touched: back in service';
    await giveBack(message);
    return again(message);
  }
  if (hand.takesOver !== undefined) {
    try {
      const mark = await wait.markNode(hand);
      if (mark.outcome === 'Full') return again(mark.reason);
    } catch (error) {
      await giveBack('held as before');
      throw error;
    }
  }
  const result = await keepTo(input, show, () => takeToVerdict(hand, show, resume));
  if (leftover.sameAttempt || result.verdict === undefined || !SERVES.has(result.verdict)) return result;
  return again(`an earlier upgrade of node ${name} was finished first: ${result.verdict}`);
}

/** Verdicts after which a node may be upgraded again at once: it is known what it runs, and it serves. */
const SERVES: ReadonlySet<Verdict> = new Set(['Succeeded', 'RolledBack', 'WrongVersion'] as const);

/** Past the point of no return: a cancel is remembered, not obeyed. */
async function keepTo(input: NodeUpgradeInput, show: Show, run: () => Promise<NodeResult>): Promise<NodeResult> {
  const result = await CancellationScope.nonCancellable(run);
  const cancelled = CancellationScope.current().consideredCancelled;
  showPhase(input.timing, result.verdict ?? result.outcome);
  show(`${result.verdict ?? ''}: ${result.message}`);
  return cancelled ? { ...result, cancelled } : result;
}

/** From the upgrade Job on: write, reboot, verify, soak, give back. */
async function takeToVerdict(
  hand: NodeInHand,
  show: Show,
  from: Exclude<Leftover['resume'], 'giveBack'>,
): Promise<NodeResult> {
  let evidence: AttemptEvidence | undefined;
  const end = (verdict: Verdict, message: string, verified = false) =>
    show(`ending as ${verdict}`).call.endNode({
      hand,
      verdict,
      message,
      ...(verified ? { verified } : {}),
      ...(evidence && { evidence }),
    });
  let said = `node ${hand.node.name} runs ${hand.target.version}`;
  try {
    if (from !== 'recovery') {
      let rebooted = from === 'verify';
      if (from === 'write') {
        beginStep(hand, 'Upgrade');
        const written = await show('writing the image').wait.writeImage({ hand, step: 'upgrade' });
        if (written.outcome === 'NotWritten') return await end('Failed', written.message);
        if (written.outcome === 'Failed') return await end('UpgradeFailed', written.message);
        rebooted = written.outcome === 'BootChanged';
      }
      if (!rebooted) {
        beginStep(hand, 'Reboot');
        const reboot = await show('rebooting').wait.rebootNode(hand);
        rebooted = reboot.outcome === 'BootChanged';
      }
      const verifying = rebooted ? 'verifying the new boot' : 'judging a node that did not reboot';
      beginStep(hand, 'Verify');
      const judged = await show(verifying).wait.verifyNode(hand);
      evidence = judged.evidence;
      if (judged.verdict !== 'Succeeded') return await end(judged.verdict, judged.message);

      beginStep(hand, 'Soak');
      const soaked = await show('soaking').wait.soakNode(hand);
      if (soaked.outcome === 'Unsteady') {
        evidence = soaked.evidence ?? evidence;
        return await end(soaked.verdict ?? 'Lost', soaked.message);
      }
      hand.bootID = judged.bootID;
      said = soaked.note === undefined ? judged.message : `${judged.message}; ${soaked.note}`;
      if (!hand.spec.upgradeRecovery) return await end('Succeeded', said);
    }
    beginStep(hand, 'Recovery');
    const recovery = await show('writing the recovery image').wait.writeImage({ hand, step: 'recovery' });
    switch (recovery.outcome) {
      case 'Written':
        return await end(
          'Succeeded',
          hand.spec.upgradeActive
            ? `${said}; the recovery image is written, too`
            : `its recovery system holds ${hand.target.version} now`,
        );
      case 'BootChanged':
        return recovery.gone === undefined
          ? await end(
              'UpgradeFailed',
              `node ${hand.node.name} rebooted while its recovery image was written: set kairos.io/retry to write it again`,
              true,
            )
          : await end('Lost', recovery.gone);
      case 'Failed':
      case 'NotWritten':
        return await end('UpgradeFailed', recovery.message, true);
    }
  } catch (error) {
    return end('Unverified', errorText(error));
  }
}
