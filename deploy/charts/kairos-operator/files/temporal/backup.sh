# Writes the database, as it is now, to stdout as a tar, while the server runs. Ends with 1 where that cannot be told whole.
#
# In the server's journal mode the log next to the database (-wal) is only added to, and the database only takes over what
# the log holds already. So the database first, and then the log, make a whole: pages that were half taken over are in the
# log, and a last entry that is cut off does not count. That fails only when the log was begun anew in between, which
# changes its head.
set -eu
cd "$DATA"
version=$(temporal --version | sed -n 's/.*(Server \([0-9][0-9.]*\).*/\1/p')
database="temporal-$version.db"
[ -f "$database-wal" ] || { echo "there is no $DATA/$database-wal: does the server run?" >&2; exit 1; }
head=$(mktemp)
trap 'rm "$head"' EXIT
head -c 32 "$database-wal" >"$head"
tar -c -f - "$database" "$database-wal"
head -c 32 "$database-wal" | cmp -s - "$head" || { echo "the log was begun anew meanwhile: throw this backup away and make another" >&2; exit 1; }
