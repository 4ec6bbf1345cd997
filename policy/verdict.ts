import type { KairosNodeAgentStatus, Verdict } from '../api/types.ts';
import type { PodReading } from './node-evidence.ts';
import { isOnTrial } from './boot-state.ts';
import { sameVersion, versionOf } from './release.ts';

export interface Evidence {
  /** The boot in which the new image was written. */
  sourceBootID: string;
  target: { version: string; digest?: string };
  /** The version that the node ran before. */
  from?: string;
  node: { name?: string; bootID: string; ready: boolean };
  report?: KairosNodeAgentStatus;
}

export interface Judgement {
  verdict: Verdict;
  /** The node, what was seen of it, and what a person does next. */
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
  if (node.bootID === '') return undefined;
  const version = report.release === undefined ? undefined : versionOf(report.release);
  const runs = version ?? 'an unknown version';
  const name = nameOf(evidence);
  switch (report.bootState) {
    case 'passive': {
      const alike = version !== undefined && sameVersion(version, evidence.target.version);
      return {
        verdict: 'RolledBack',
        message: `the new image did not boot: ${name} fell back to its passive image and runs ${runs}${alike ? ', the version that was wanted, but from the image that was there before' : ''}; find out on its console why, before another node gets this image`,
      };
    }
    case 'recovery':
      return {
        verdict: 'RolledBack',
        message: `the new image did not boot: ${name} fell back to its recovery system and runs ${runs}; neither its active nor its passive image may boot: look at its console, and install one of them anew`,
      };
    case 'livecd':
      return {
        verdict: 'WrongVersion',
        message: `${name} booted a live medium (${runs}): remove it and reboot the node`,
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
  const name = nameOf(evidence);
  if (version === undefined || !sameVersion(version, target.version)) {
    const slot = report.bootState === 'active' ? ' from its active image' : ', and from which slot is not known';
    return {
      verdict: 'WrongVersion',
      message: `${name} runs ${runs}, wanted ${target.version}${slot}: compare status.release and status.stamp of its KairosNode, then start the rollout again`,
    };
  }
  const stamp = report.stamp;
  if (stamp?.sourceBootID === evidence.sourceBootID) {
    return { verdict: 'Succeeded', message: `runs ${runs}, proven by the stamp of this upgrade` };
  }
  if (stamp !== undefined) {
    return {
      verdict: 'WrongVersion',
      message: `${name} runs ${runs}, but from an image that another upgrade wrote (boot ${stamp.sourceBootID ?? 'unknown'}): see status.stamp of its KairosNode for whose it is, then start the rollout again`,
    };
  }
  if (report.bootState === 'active') {
    if (report.trustedBoot === true) return judgeTrustedBoot(evidence, report, runs);
    return { verdict: 'Succeeded', message: `runs ${runs} from its active image` };
  }
  return {
    verdict: 'Unverified',
    message: `${name} runs ${runs}, but neither its boot state nor a stamp proves that it is the new image: look at /proc/cmdline on the node, and free it when it booted the active image`,
  };
}

/**
 * A signed image holds no stamp. What tells a new one from the one before: the loader has it on trial, or its version
 * is another. Where neither is so, the active entry may hold the old image, and nothing is guessed.
 */
function judgeTrustedBoot(evidence: Evidence, { loaderEntry }: KairosNodeAgentStatus, runs: string): Judgement {
  const { from } = evidence;
  if (isOnTrial(loaderEntry))
    return {
      verdict: 'Succeeded',
      message: `runs ${runs} from its active entry (trusted boot), which is on trial as a new one: ${loaderEntry}`,
    };
  if (from !== undefined && !sameVersion(from, runs))
    return {
      verdict: 'Succeeded',
      message: `runs ${runs} from its active entry (trusted boot), and ran ${from} before; that it is this image and no other of that version is not proven, as no stamp can be put into a signed one`,
    };
  return {
    verdict: 'Unverified',
    message: `${nameOf(evidence)} runs ${runs} from its active entry (trusted boot)${from === undefined ? '' : ', the version that it ran before'}: nothing tells whether that is the new image or the old one, as no stamp can be put into a signed one. On the node, compare /efi/EFI/kairos/active.efi with the one in the image: look at both with sha256sum, and free the node when they are the same`,
  };
}

/**
 * What is said of a node whose deadline passed; evidence that came with the deadline still counts. `forced`: a forced
 * reboot was asked for.
 */
export function judgeOverdue(evidence: Evidence, waited: string, { forced = false } = {}): Judgement {
  const judged = judge(evidence);
  if (judged !== undefined) return judged;
  const { node, report } = evidence;
  const name = nameOf(evidence);
  const sameBoot = node.bootID === evidence.sourceBootID;
  if (sameBoot && node.ready) {
    return {
      verdict: 'NeverRebooted',
      message: `${name} did not reboot within ${waited} and still is in boot ${node.bootID}: the new image is written and waits for a reboot; reboot the node, then free it`,
    };
  }
  if (!node.ready) {
    const seen = sameBoot
      ? `still is in boot ${node.bootID}, in which the image was written, ${forced ? 'also after a forced reboot was asked for' : 'as far as is known'}`
      : `is in the new boot ${node.bootID}`;
    return {
      verdict: 'Lost',
      message: `${name} is not Ready ${waited} after its reboot was asked for; it ${seen}: look at its console, and free it when it serves again`,
    };
  }
  const seen = report?.bootID === undefined ? 'has not reported' : `last reported from boot ${report.bootID}`;
  return {
    verdict: 'Unverified',
    message: `${name} is Ready in the new boot ${node.bootID}, but its agent ${seen} within ${waited}: look at the agent's pod on the node`,
  };
}

/**
 * The verdict on a node that is Ready in a new boot, of which only a pod of ours could say what it runs. The same
 * evidence is judged by the same rules; where the pod read nothing from that boot, nothing is proven.
 */
export function judgeByPod(evidence: Evidence, waited: string, reading: PodReading): Judgement {
  const unproven = judgeOverdue(evidence, waited);
  if (unproven.verdict !== 'Unverified' || judge(evidence) !== undefined) return unproven;
  const { report, seen } = reading;
  const judged = report === undefined ? undefined : judge({ ...evidence, report });
  if (judged !== undefined) {
    return {
      verdict: judged.verdict,
      message: `${judged.message}; read by a pod on ${nameOf(evidence)}, since its agent did not report from this boot: look at the agent's pod there`,
    };
  }
  return { verdict: 'Unverified', message: `${unproven.message}; a pod that was to read it there ${seen}` };
}

/** The verdict on a node that is not there any more, or that another one has taken the place of. */
export function judgeGone(name: string, replacedBy?: string): Judgement {
  const seen =
    replacedBy === undefined ? 'was deleted' : `was deleted and made again (UID ${replacedBy} is another node)`;
  return {
    verdict: 'Lost',
    message: `node ${name} ${seen} during its upgrade: look at the machine, and start the rollout again when it is back`,
  };
}

const nameOf = ({ node }: Evidence) => (node.name === undefined ? 'the node' : `node ${node.name}`);
