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
 * is a hard link to a file that already holds the process id: whoever finds it taken also finds by whom.
 * A pod that starts in another boot than it was made for does nothing.
 *
 * The kubelet's mounts over /etc are taken off so that the image's own files are copied. The stamp written into this
 * container's root is copied with it, and so tells the agent later which image it runs in. The termination log is
 * opened first: it lies in /dev, over which the host's is mounted.
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
actual=$(nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id) || actual=unreadable
if [ "$actual" != "$BOOT_ID" ]; then
  echo "made for boot $BOOT_ID, but this is boot $actual: nothing done" | tee "$report"
  exit 76
fi
exec 9> "$report"
lock="$host/run/kairos-operator/$STEP-$BOOT_ID"
mkdir -p "$lock" && echo $$ > "$lock/pid.$$" || exit 74
if ! ln "$lock/pid.$$" "$lock/pid" 2>/dev/null; then
  rm -f "$lock/pid.$$"
  holder=$(cat "$lock/pid" 2>/dev/null) || holder=$$
  while [ ! -f "$lock/outcome" ] && [ "$holder" != $$ ] && kill -0 "$holder" 2>/dev/null; do sleep 1; done
  if [ ! -f "$lock/outcome" ]; then
    echo "an earlier run in this boot was cut off: not run again" | tee "$report"
    exit 75
  fi
  tail -c 3000 "$lock/log" >&9
  exit "$(cat "$lock/outcome")"
fi
rm -f "$lock/pid.$$"
mount --rbind "$host/dev" /dev
mount --rbind "$host/run" /run
for file in /etc/hostname /etc/hosts /etc/resolv.conf; do umount "$file" 2>/dev/null || true; done
mkdir -p "$root/etc/kairos-operator"
printf '%s\\n' "$STAMP" > "$root/etc/kairos-operator/target"
{ kairos-agent "$@"; echo $? > "$lock/code"; } 2>&1 | tee "$lock/log"
code=$(cat "$lock/code") || code=137
state="$host/run/initramfs/cos-state"
if [ "$code" = 0 ] && [ "$STEP" = upgrade ] && grep -q '^boot_assessment_tentative=yes' "$state/boot_assessment" 2>/dev/null; then
  editenv=$(command -v grub2-editenv || command -v grub-editenv)
  writable=yes
  [ -w "$state/boot_assessment" ] || { writable=no; mount -o rw,remount "$state"; }
  "$editenv" "$state/boot_assessment" set boot_assessment_tentative= ||
    echo "GRUB's assessment stays open: the machine may fall back once more" | tee -a "$lock/log"
  [ "$writable" = yes ] || mount -o ro,remount "$state"
fi
tail -c 3000 "$lock/log" >&9
echo "$code" > "$lock/outcome.new" && mv "$lock/outcome.new" "$lock/outcome"
exit "$code"
`;

/**
 * Reboots the machine, if it still is in the boot that this pod was made for. The boot id is read through the host's
 * mount namespace immediately before, so the pod may be repeated as often as one likes: it reboots once.
 */
export const REBOOT_SCRIPT = `
set -u
actual=$(nsenter -t 1 -m -- cat /proc/sys/kernel/random/boot_id) || exit 1
if [ "$actual" != "$BOOT_ID" ]; then
  echo "this is boot $actual already: nothing to do"
  exit 0
fi
nsenter -i -m -t 1 -- reboot
`;
