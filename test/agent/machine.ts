import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export const HADRON = {
  'etc/kairos-release': [
    'KAIROS_FAMILY="hadron"',
    'KAIROS_RELEASE="v4.0.3"',
    'KAIROS_SOFTWARE_VERSION="v1.33.9+k3s1"',
    'KAIROS_SOFTWARE_VERSION_PREFIX="k3s"',
    'KAIROS_VERSION="v4.0.3"',
    '',
  ].join('\n'),
  'etc/os-release': 'ID="hadron"\nVERSION_ID="v0.0.4"\nPRETTY_NAME="Hadron Linux"\n',
  'proc/cmdline': 'BOOT_IMAGE=(loop0)/boot/vmlinuz root=LABEL=COS_ACTIVE cos-img/filename=/cOS/active.img panic=5\n',
  'proc/sys/kernel/random/boot_id': '3f2b6c1e-0d54-4a6f-9f0e-1c2d3e4f5a6b\n',
} as const;

export interface TestMachine {
  readonly root: string;
  write(files: Record<string, string | Buffer>): void;
  remove(): void;
}

/** A temporary root with the given files. */
export function makeMachine(files: Record<string, string | Buffer>): TestMachine {
  const root = mkdtempSync(join(tmpdir(), 'agent-root-'));
  const write = (more: Record<string, string | Buffer>) => {
    for (const [path, content] of Object.entries(more)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
    }
  };
  write(files);
  return { root, write, remove: () => rmSync(root, { recursive: true, force: true }) };
}

/** Asks again every 10 ms until the answer is something; fails the test after `timeoutMs`. */
export async function eventually<T>(
  ask: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 8000,
) {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > deadline) throw new Error(`still not so after ${timeoutMs} ms: ${ask.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
