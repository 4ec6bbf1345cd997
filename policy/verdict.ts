import type { KairosNodeAgentStatus, Verdict } from '../api/types.ts';
import { sameVersion, versionOf } from './release.ts';

export interface Evidence {
  /** The boot in which the new image was written. */
  sourceBootID: string;
  target: { version: string; digest?: string };
  node: { bootID: string; ready: boolean };
  report?: KairosNodeAgentStatus;
}

export interface Judgement {
  verdict: Verdict;
  message: string;
}

/**
 * What the evidence from the new boot says, or undefined while there is not enough of it. A report counts only when
 * its boot id equals the Node's: clocks of machines are never compared.
 *
 * The stamp that the upgrade baked into the image is the strongest evidence: it exists nowhere else. A node that runs
 * from its passive or recovery slot fell back, even where the version looks alike.
 */
export function judge(evidence: Evidence): Judgement | undefined {
  const { node, report } = evidence;
  if (node.bootID === evidence.sourceBootID || !node.ready || report?.bootID !== node.bootID) return undefined;
  const version = report.release === undefined ? undefined : versionOf(report.release);
  const runs = version ?? 'an unknown version';
  switch (report.bootState) {
    case 'passive':
      return {
        verdict: 'RolledBack',
        message: `the new image did not boot: the node fell back to its passive image and runs ${runs}`,
      };
    case 'recovery':
      return {
        verdict: 'RolledBack',
        message: `the new image did not boot: the node fell back to its recovery system and runs ${runs}`,
      };
    case 'livecd':
      return {
        verdict: 'WrongVersion',
        message: `the node booted a live medium (${runs}): remove it and reboot the node`,
      };
    case 'active':
    case 'unknown':
    case undefined:
      return judgeRunning(evidence, report, version);
  }
}

function judgeRunning(evidence: Evidence, report: KairosNodeAgentStatus, version: string | undefined): Judgement {
  const { target } = evidence;
  const runs = version ?? 'an unknown version';
  if (version === undefined || !sameVersion(version, target.version)) {
    return { verdict: 'WrongVersion', message: `the node runs ${runs}, wanted ${target.version}` };
  }
  const stamp = report.stamp;
  if (stamp?.sourceBootID === evidence.sourceBootID) {
    return { verdict: 'Succeeded', message: `runs ${runs}, proven by the stamp of this upgrade` };
  }
  if (stamp !== undefined) {
    return {
      verdict: 'WrongVersion',
      message: `the node runs ${runs}, but from an image that another upgrade wrote (boot ${stamp.sourceBootID ?? 'unknown'})`,
    };
  }
  if (report.bootState === 'active') return { verdict: 'Succeeded', message: `runs ${runs} from its active image` };
  return {
    verdict: 'Unverified',
    message: `the node runs ${runs}, but neither its boot state nor a stamp proves that it is the new image`,
  };
}

/** What is said of a node whose deadline passed; evidence that came with the deadline still counts. */
export function judgeOverdue(evidence: Evidence, waited: string): Judgement {
  const judged = judge(evidence);
  if (judged !== undefined) return judged;
  const { node, report } = evidence;
  if (node.bootID === evidence.sourceBootID && node.ready) {
    return {
      verdict: 'NeverRebooted',
      message: `the node did not reboot within ${waited}: the new image is written and waits for a reboot`,
    };
  }
  if (!node.ready) {
    return {
      verdict: 'Lost',
      message: `the node is not Ready ${waited} after its reboot was asked for: look at its console`,
    };
  }
  const seen = report?.bootID === undefined ? 'has not reported' : `last reported from boot ${report.bootID}`;
  return {
    verdict: 'Unverified',
    message: `the node is Ready, but its agent ${seen} within ${waited}: look at the agent pod on the node`,
  };
}
