/**
 * The scripts that run on a node, in the target image. They use nothing but what every Kairos image has.
 *
 * Paths have defaults that fit a pod; the simulated machine sets them to folders of its own and runs the same text.
 */

/**
 * Writes the image of this container to the passive slot's place and makes it active: `kairos-agent upgrade`.
 *
 * At most once per boot: running it twice without a reboot in between overwrites the fallback image. The lock lives in
 * the host's /run, which is gone with the boot; a second run waits for the first and only repeats its outcome. The lock
 * is a hard link to a file that already holds the process id: whoever finds it taken also finds by whom. The recovery
 * image has a lock for each attempt, since nothing else is lost when it is written again; no two of them write at once.
 *
 * What it finds amiss before anything is touched ends it with a code of its own, 74 and 76 to 79 (docs/upgrade-job.md);
 * those that kairos-agent might end with itself are told as 1.
 *
 * The kubelet's mounts over /etc are taken off so that the image's own files are copied. The stamp written into this
 * container's root is copied with it, and so tells the agent later which image it runs in. The termination log is
 * opened first: it lies in /dev, over which the host's is mounted.
 *
 * The image must fit beside the two that are there. What kairos-agent needs exactly only it knows; refused is what
 * cannot fit: three quarters of what the files of the image take here are more than what is free, with the blocks that
 * are kept for root and what an earlier, failed upgrade left behind counted as free.
 *
 * With trusted boot (UKI) a signed file takes the place of the slot: the image carries it in /trusted-boot, and the
 * machine's own kairos-agent, which knows its EFI partition, takes it from there. No stamp can be put into it.
 *
 * GRUB's assessment of an earlier, failed image is only cleared by a boot from active: on a machine that fell back it
 * still is open, and would take the new image for the failed one.
 */
export const UPGRADE_SCRIPT = `
set -u
# Somebody who deletes this pod must not kill the writing: children inherit that the signal is ignored.
trap '' TERM
host="\${HOST_DIR:-/host}"
root="\${IMAGE_ROOT:-}"
report="\${TERMINATION_LOG:-/dev/termination-log}"
if ! actual=$(nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id 2>&1); then
  echo "the boot id cannot be read: nothing done: $actual" | tee "$report"
  exit 77
fi
if [ "$actual" != "$BOOT_ID" ]; then
  echo "made for boot $BOOT_ID, but this is boot $actual: nothing done" | tee "$report"
  exit 76
fi
uki=no
if [ -e "$host/run/cos/uki_boot_mode" ] || grep -q 'rd\\.immucore\\.uki' "$host/proc/cmdline" 2>/dev/null; then uki=yes; fi
if [ "$uki" != "$TRUSTED_BOOT" ]; then
  echo "made for a machine with trusted boot: $TRUSTED_BOOT, but it has: $uki: nothing done" | tee "$report"
  exit 79
fi
exec 9> "$report"
lock="$host/run/kairos-operator/$LOCK"
if ! { mkdir -p "$lock" && echo $$ > "$lock/pid.$$"; } 2> "$report"; then exit 74; fi
if [ "$STEP" = recovery ]; then
  for other in "$host/run/kairos-operator/kairos-recovery-"*/pid; do
    [ "$other" != "$lock/pid" ] && holder=$(cat "$other" 2>/dev/null) || continue
    while [ ! -f "\${other%/pid}/outcome" ] && kill -0 "$holder" 2>/dev/null; do sleep 1; done
  done
fi
if ! ln "$lock/pid.$$" "$lock/pid" 2>/dev/null; then
  rm -f "$lock/pid.$$"
  holder=$(cat "$lock/pid" 2>/dev/null) || holder=$$
  while [ ! -f "$lock/outcome" ] && [ "$holder" != $$ ] && kill -0 "$holder" 2>/dev/null; do sleep 1; done
  if [ -f "$lock/outcome" ]; then
    echo "an earlier pod did this, from $(cat "$lock/started" 2>/dev/null) to $(cat "$lock/ended" 2>/dev/null); the end of its log:" >&9
    tail -c 3000 "$lock/log" >&9
    exit "$(cat "$lock/outcome")"
  fi
  if [ -f "$lock/no-room" ]; then
    tee "$report" < "$lock/no-room"
    exit 78
  fi
  echo "an earlier run in this boot was cut off: not run again" | tee "$report"
  exit 75
fi
rm -f "$lock/pid.$$" "$lock/no-room"
date -u +%Y-%m-%dT%H:%M:%SZ > "$lock/started"
state="$host/run/initramfs/cos-state"
# kilobytes that files take; nothing where that cannot be told
used() { du -skx "$1" 2>/dev/null | cut -f 1; }
case " $* " in *' --exclude-path '*) excludes=yes ;; *) excludes=no ;; esac
if [ "$STEP" = upgrade ] && [ "$uki" = no ] && [ "$excludes" = no ] && [ -d "$state" ]; then
  need=$(used "$root/") left=$(used "$state/cOS/transition.img")
  have=$(df -Pk "$state" 2>/dev/null | tail -n 1 | { read -r _ size taken _ && echo $((size - taken)); })
  have=$((\${have:-0} + \${left:-0}))
  if [ -n "$need" ] && [ "$have" -gt 0 ] && [ $((need * 3 / 4)) -gt "$have" ]; then
    echo "the image takes $((need / 1024)) MiB, and the state partition has $((have / 1024)) MiB free: nothing done" |
      tee "$lock/no-room" "$report"
    rm -f "$lock/pid"
    exit 78
  fi
fi
mount --rbind "$host/dev" /dev
mount --rbind "$host/run" /run
if [ "$uki" = yes ]; then
  source="$host/usr/local/trusted-boot"
  mkdir -p "$source" && mount --rbind "$root/trusted-boot" "$source"
  # An agent that knows itself in a pod looks for the machine's files below another root than its own.
  { (unset HOST_DIR KUBERNETES_SERVICE_HOST; exec chroot "$host" kairos-agent "$@"); echo $? > "$lock/code"; } 2>&1 |
    tee "$lock/log"
  umount "$source" && rmdir "$source"
else
  for file in /etc/hostname /etc/hosts /etc/resolv.conf; do umount "$file" 2>/dev/null || true; done
  mkdir -p "$root/etc/kairos-operator"
  printf '%s\\n' "$STAMP" > "$root/etc/kairos-operator/target"
  { kairos-agent "$@"; echo $? > "$lock/code"; } 2>&1 | tee "$lock/log"
fi
code=$(cat "$lock/code") || code=137
case "$code" in 7[4-9])
  echo "kairos-agent ended with $code" | tee -a "$lock/log"
  code=1 ;;
esac
if [ "$code" = 0 ] && [ "$STEP" = upgrade ] && grep -q '^boot_assessment_tentative=yes' "$state/boot_assessment" 2>/dev/null; then
  editenv=$(command -v grub2-editenv || command -v grub-editenv)
  writable=yes
  [ -w "$state/boot_assessment" ] || { writable=no; mount -o rw,remount "$state"; }
  "$editenv" "$state/boot_assessment" set boot_assessment_tentative= ||
    echo "GRUB's assessment stays open: the machine may fall back once more" | tee -a "$lock/log"
  [ "$writable" = yes ] || mount -o ro,remount "$state"
fi
date -u +%Y-%m-%dT%H:%M:%SZ > "$lock/ended"
tail -c 3000 "$lock/log" >&9
echo "$code" > "$lock/outcome.new" && mv "$lock/outcome.new" "$lock/outcome"
exit "$code"
`;

const IN_THIS_BOOT = `
set -u
actual=$(nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id) || exit 1
if [ "$actual" != "$BOOT_ID" ]; then
  echo "this is boot $actual already: nothing to do"
  exit 0
fi`;

/**
 * Reboots the machine, if it still is in the boot that this pod was made for. The boot id is read through the host's
 * mount namespace immediately before, so the pod may be repeated as often as one likes: it reboots once.
 */
export const REBOOT_SCRIPT = `${IN_THIS_BOOT}
nsenter -i -m -t 1 -- reboot
`;

/**
 * The same for a machine whose shutdown hangs: services are not stopped any more. What is not on the disk yet is given
 * ten seconds; a file system that hangs must not hold the reboot. Where one \`-f\` still asks the service manager, which
 * may be what hangs, the second goes to the kernel.
 */
export const FORCED_REBOOT_SCRIPT = `${IN_THIS_BOOT}
nsenter -m -t 1 -- sync &
for _ in 1 2 3 4 5 6 7 8 9 10; do
  sleep 1
  kill -0 $! 2>/dev/null || break
done
nsenter -i -m -t 1 -- reboot -f
sleep 10
nsenter -i -m -t 1 -- reboot -f -f
`;

/**
 * Reads what a node runs, in the place of its agent, into the termination log, of which the API keeps 4096 bytes: one
 * word says what the rest of the line is (policy/node-evidence.ts reads it). Every part has its bound, and only what
 * decides is taken. The links of /etc are followed as the machine would, not into this container's own /usr.
 */
export const EVIDENCE_SCRIPT = `
set -u
host="\${HOST_DIR:-/host}"
report="\${TERMINATION_LOG:-/dev/termination-log}"
# text of a file of the machine
text() {
  path=$1
  for _ in 1 2 3 4 5 6 7 8; do
    [ -L "$host$path" ] || break
    to=$(readlink "$host$path")
    case "$to" in /*) path=$to ;; *) path="\${path%/*}/$to" ;; esac
  done
  if [ -f "$host$path" ]; then cat "$host$path"; fi
}
fields='^[[:space:]]*(export[[:space:]]+)?KAIROS_(RELEASE|VERSION|SOFTWARE_VERSION|SOFTWARE_VERSION_PREFIX)='
# lines that are longer than any version are of no use, and a part of one would be wrong
release() { text "/etc/$1" | grep -E "$fields" | grep -vE '.{150}' | tail -n 8 | sed "s/^/$1 /"; }
efi="$host/sys/firmware/efi/efivars"
vendor=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
{
  printf 'boot-id %s\\n' "$(text /proc/sys/kernel/random/boot_id | head -c 64)"
  found=$(release kairos-release)
  [ -n "$found" ] || found=$(release os-release)
  printf '%s\\n' "$found"
  if [ -f "$host/etc/kairos-operator/target" ]; then
    printf 'stamp-boot %s\\n' "$(text /etc/kairos-operator/target | sed -n 's/.*"sourceBootID" *: *"\\([^"]*\\)".*/\\1/p' | head -c 64)"
  fi
  for sentinel in recovery_mode autoreset_mode passive_mode active_mode live_mode uki_boot_mode; do
    [ ! -e "$host/run/cos/$sentinel" ] || printf 'run-cos %s\\n' "$sentinel"
  done
  # The firmware is asked where nothing else tells the slot: each question may stop the machine for a moment.
  if { grep -q 'rd\\.immucore\\.uki' "$host/proc/cmdline" || [ -e "$host/run/cos/uki_boot_mode" ]; } && [ -d "$efi" ]; then
    # four bytes of attributes, then UTF-16
    entry=$(tail -c +5 "$efi/LoaderEntrySelected-$vendor" | tr -d '\\000' | head -c 100)
    [ -z "$entry" ] || printf 'loader-entry %s\\n' "$entry"
    device=no
    [ ! -e "$efi/LoaderDevicePartUUID-$vendor" ] || device=yes
    printf 'loader-device %s\\n' "$device"
  fi
  printf 'cmdline %s\\n' "$(text /proc/cmdline | tr '\\n' ' ' | head -c 2048)"
} > "$report" 2> /dev/null
`;
