import path from 'node:path';
import { kairosImage, type SimulatedImage } from '../images.ts';
import { MENDED, showBadImage } from './bad-image.ts';
import type { DemoOptions, Story } from './options.ts';
import { resultLine } from './report.ts';
import { readSample, startStand, type CleanUp } from './stand.ts';
import { playScenario } from './scenarios/play.ts';
import { upgradeCluster } from './upgrade.ts';

const OLD_IMAGE = 'quay.io/kairos/hadron:v0.0.4-standard-amd64-generic-v4.0.2-k3sv1.32.11-k3s1';

/**
 * Builds a cluster, upgrades it as a user would, shows it, and checks what must never happen.
 * @returns the exit code: 0 when all nodes run the target and every invariant held
 */
export async function runDemo(options: DemoOptions, folder: string, signal: AbortSignal): Promise<number> {
  const cleanUp: CleanUp = [];
  try {
    return await demonstrate(options, folder, signal, cleanUp);
  } finally {
    for (const undo of cleanUp.reverse()) {
      try {
        await undo();
      } catch (error) {
        console.error(`clean-up: ${(error as Error).message}`);
      }
    }
  }
}

async function demonstrate(
  options: DemoOptions,
  folder: string,
  signal: AbortSignal,
  cleanUp: CleanUp,
): Promise<number> {
  const { story } = options;
  const nodes = options.controlPlane + options.workers;
  const here = (file: string) => path.relative(process.cwd(), file);
  console.log(
    `Starting a cluster of ${nodes} simulated Kairos nodes on a real control plane, and Temporal. Logs: ${here(folder)}/logs`,
  );
  if (story.kind === 'chaos') {
    console.log(
      `Chaos with seed ${story.seed}. The same kills again: CHAOS=1 SEED=${story.seed} NODES=${nodes} make demo`,
    );
  }
  const stand = await startStand({ demo: options, folder, images: imagesFor(story), signal, cleanUp });
  const { temporal, cluster } = stand;
  const kubeconfig = here(cluster.controlPlane.adminKubeconfig);
  console.log(
    `Temporal UI: ${temporal.uiUrl}\ntemporal:    --address ${temporal.address}\nkubectl:     export KUBECONFIG=${kubeconfig}\n`,
  );
  const outcome =
    story.kind === 'scenario'
      ? await playScenario(stand, story.scenario, signal)
      : story.kind === 'bad-image'
        ? await showBadImage(stand, options, story.mend, signal)
        : await upgradeCluster(stand, options, signal, cleanUp);
  console.log(`\n${resultLine(outcome)}`);
  if (options.keep && !signal.aborted) {
    console.log(`\nEverything stays up until Ctrl-C. Temporal UI: ${temporal.uiUrl}`);
    await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }
  return outcome.exitCode;
}

function imagesFor(story: Story): readonly [SimulatedImage, ...SimulatedImage[]] {
  if (story.kind === 'scenario') return story.scenario.images;
  const { image } = readSample().upgrade.spec;
  const old = kairosImage(OLD_IMAGE, 'v4.0.2', { kubernetes: 'v1.32.11+k3s1' });
  if (story.kind !== 'bad-image') return [old, kairosImage(image, 'v4.0.3')];
  return [old, kairosImage(image, 'v4.0.3', { boots: false }), kairosImage(MENDED, 'v4.0.3')];
}
