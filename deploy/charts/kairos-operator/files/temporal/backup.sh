# Writes the database, as it is now, to stdout as a tar, while the server runs. Needs as much room on its volume.
#
# In the server's journal mode the log next to the database (-wal) is only added to, and the database only takes over what
# the log holds already. So a copy of the database and then one of the log make a whole: pages that were half taken over are
# in the log, and a last entry that is cut off does not count. That fails only when the log was begun anew in between, which
# changes its head: then it is tried again.
set -eu
cd "$DATA"
version=$(temporal --version | sed -n 's/.*(Server \([0-9][0-9.]*\).*/\1/p')
database="temporal-$version.db"
[ -f "$database-wal" ] || { echo "there is no $DATA/$database-wal: does the server run?" >&2; exit 1; }
copy="backup.$$"
trap 'rm -rf "$copy"' EXIT
mkdir "$copy"
for try in 1 2 3 4 5; do
  head -c 32 "$database-wal" >"$copy/head"
  cp "$database" "$copy/$database"
  cp "$database-wal" "$copy/$database-wal"
  if head -c 32 "$database-wal" | cmp -s - "$copy/head"; then
    tar -c -f - -C "$copy" "$database" "$database-wal"
    exit 0
  fi
done
echo "the server began its log anew during each of $try copies: try again when fewer nodes are being upgraded" >&2
exit 1
