# Takes a backup from stdin and puts it where the next start of the server finds it.
set -eu
cd "$DATA"
rm -rf restore restore.half && mkdir restore.half
tar -x -f - -C restore.half
ls restore.half/temporal-*.db >/dev/null || { rm -r restore.half; echo "this is no backup of backup.sh" >&2; exit 1; }
mv restore.half restore
echo "$(ls restore/temporal-*.db) will be used from the next start of the pod on"
