import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveTool } from '../tools/resolve.ts';
import type { RegisteredImage } from './images.ts';
import { POWER_LABEL } from './node-object.ts';
import { managedProcess, type ManagedProcess } from './processes.ts';
import { kwokStages } from './stages.ts';
import type { Timings } from './timings.ts';

export interface KwokOptions {
  readonly folder: string;
  readonly kubeconfig: string;
  readonly images: readonly RegisteredImage[];
  readonly timings: Timings;
  /** Renewed four times in that time. */
  readonly leaseSeconds: number;
}

/** kwok, which keeps the nodes alive whose machine is on, and moves their ordinary pods along. */
export async function startKwok(options: KwokOptions): Promise<ManagedProcess> {
  const { folder } = options;
  const config = writeStages(folder, options.images, options.timings);
  const logFile = join(folder, 'logs', 'kwok.log');
  const kwok = managedProcess({
    name: 'kwok',
    command: await resolveTool('kwok'),
    args: [
      `--kubeconfig=${options.kubeconfig}`,
      `--config=${config}`,
      `--manage-nodes-with-label-selector=${POWER_LABEL}=on`,
      `--node-lease-duration-seconds=${options.leaseSeconds}`,
      '--cidr=10.64.0.1/10',
    ],
    // Its own settings of a user are none of ours.
    env: { HOME: folder, KWOK_WORKDIR: folder },
    logFile,
    // It serves nothing that could be asked. What it says first, once its configuration is read:
    ready: () => Promise.resolve(readFileSync(logFile, 'utf8').includes('Watch nodes')),
  });
  await kwok.start();
  return kwok;
}

/** What the next start of kwok does with these images. Answers the file that tells it. */
export function writeStages(folder: string, images: readonly RegisteredImage[], timings: Timings): string {
  mkdirSync(folder, { recursive: true });
  const config = join(folder, 'kwok-stages.yaml');
  // JSON is YAML that no reader of its older version takes `on` for a boolean in.
  writeFileSync(
    config,
    kwokStages(images, timings)
      .map((stage) => JSON.stringify(stage))
      .join('\n---\n'),
  );
  return config;
}
