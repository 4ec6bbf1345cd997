import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Ended {
  code: number | null;
  output: string;
  /** What the container left in its termination log. */
  report: string;
}

/** Commands that would touch a real machine. Each notes its call; the mount over /dev hides what lies in /dev. */
const COMMANDS: Record<string, string> = {
  nsenter: `
case "$*" in
  '-t 1 -m -- cat /proc/sys/kernel/random/boot_id') exec cat "$STUBS/boot-id" ;;
  '-m -t 1 -- sync') echo sync >> "$STUBS/calls"; while [ -f "$STUBS/sync-hangs" ]; do sleep 1; done ;;
  '-i -m -t 1 -- reboot' | '-i -m -t 1 -- reboot -f' | '-i -m -t 1 -- reboot -f -f')
    echo "$*" | sed 's/^.*-- //' >> "$STUBS/calls" ;;
  *) echo "nsenter is not called like this: $*" >&2; exit 64 ;;
esac`,
  mount: `
echo "mount $*" >> "$STUBS/calls"
if [ "$*" = "--rbind $HOST_DIR/dev /dev" ]; then mv "$TERMINATION_LOG" "$TERMINATION_LOG.below"; fi`,
  umount: 'echo "umount $*" >> "$STUBS/calls"; exit 1',
  chroot: `
echo "chroot $1, HOST_DIR=\${HOST_DIR:-}, KUBERNETES_SERVICE_HOST=\${KUBERNETES_SERVICE_HOST:-}" >> "$STUBS/calls"
shift
exec "$@"`,
  df: 'cat "$STUBS/df" 2>/dev/null',
  du: 'case "$2" in */transition.img) exec cat "$STUBS/du-transition" ;; *) exec cat "$STUBS/du" ;; esac 2>/dev/null',
  sleep: 'exec /bin/sleep 0.02',
  'grub2-editenv': `
echo "grub2-editenv $2 $3" >> "$STUBS/calls"
printf 'enable_boot_assessment=yes\\n%s\\n' "$3" > "$1"`,
  'kairos-agent': `
{ echo kairos-agent; for word in "$@"; do echo "<$word>"; done; } >> "$STUBS/calls"
cp "$IMAGE_ROOT/etc/kairos-operator/target" "$STUBS/stamp-seen" 2>/dev/null
while [ ! -f "$STUBS/go-on" ]; do sleep 1; done
echo writing; echo "\${AGENT_SAYS:-done}" >&2
exit "\${AGENT_ENDS:-0}"`,
};

/** Folders and commands in which a step's script runs as it would on a node. */
export class StepContainer {
  readonly folder = mkdtempSync(join(tmpdir(), 'step-'));
  readonly host = join(this.folder, 'host');
  readonly image = join(this.folder, 'image');
  readonly #children = new Set<ChildProcess>();
  #runs = 0;

  constructor() {
    for (const [name, body] of Object.entries(COMMANDS)) {
      this.write(`bin/${name}`, `#!/bin/sh${body.startsWith('\n') ? '' : '\n'}${body}\n`);
      chmodSync(join(this.folder, 'bin', name), 0o755);
    }
    for (const folder of ['host/run', 'host/dev', 'image/etc', 'stubs'])
      mkdirSync(join(this.folder, folder), { recursive: true });
    this.write('stubs/calls', '');
    this.boot('boot-1');
    this.goOn();
  }

  write(path: string, text: string | Uint8Array): void {
    mkdirSync(dirname(join(this.folder, path)), { recursive: true });
    writeFileSync(join(this.folder, path), text);
  }

  read(path: string): string | undefined {
    const file = join(this.folder, path);
    return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
  }

  delete(path: string): void {
    rmSync(join(this.folder, path));
  }

  /** The machine comes up: another boot id, and an empty /run. */
  boot(bootID: string): void {
    this.write('stubs/boot-id', `${bootID}\n`);
    rmSync(join(this.host, 'run'), { recursive: true, force: true });
    mkdirSync(join(this.host, 'run'));
  }

  /** Lets kairos-agent wait, from its start on, until `goOn`. */
  hold(): void {
    rmSync(join(this.folder, 'stubs/go-on'), { force: true });
  }
  goOn(): void {
    this.write('stubs/go-on', '');
  }

  calls(beginning = ''): string[] {
    return (this.read('stubs/calls') ?? '').split('\n').filter((line) => line !== '' && line.startsWith(beginning));
  }

  run(
    script: string,
    args: readonly string[] = [],
    env: Record<string, string> = {},
  ): { child: ChildProcess; ended: Promise<Ended> } {
    this.#runs += 1;
    const log = `termination-log-${this.#runs}`;
    const child = spawn('/bin/sh', ['-c', script, ...args], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: `${join(this.folder, 'bin')}:/usr/bin:/bin`,
        STUBS: join(this.folder, 'stubs'),
        HOST_DIR: this.host,
        IMAGE_ROOT: this.image,
        TERMINATION_LOG: join(this.folder, log),
        STEP: 'upgrade',
        BOOT_ID: 'boot-1',
        TRUSTED_BOOT: 'no',
        LOCK: `upgrade-${env['BOOT_ID'] ?? 'boot-1'}`,
        STAMP: '{"image":"i","sourceBootID":"boot-1"}',
        ...env,
      },
    });
    this.#children.add(child);
    let output = '';
    child.stdout.on('data', (data: Buffer) => (output += data.toString()));
    child.stderr.on('data', (data: Buffer) => (output += data.toString()));
    const ended = new Promise<Ended>((resolve) => {
      child.once('close', (code) => {
        this.#children.delete(child);
        resolve({ code, output, report: this.read(`${log}.below`) ?? this.read(log) ?? '' });
      });
    });
    return { child, ended };
  }

  async until(holds: () => boolean): Promise<void> {
    for (let tries = 0; !holds(); tries += 1) {
      if (tries > 500) throw new Error(`not within 10 s; calls so far: ${this.calls().join(', ')}`);
      await sleep(20);
    }
  }

  /** As the loss of the container does: everything in it ends at once. */
  kill({ pid }: ChildProcess): void {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  }

  remove(): void {
    for (const child of this.#children) this.kill(child);
    rmSync(this.folder, { recursive: true, force: true });
  }
}
