# Starts the server on the database of its version, after a restore on that. Arguments: flags of `temporal server start-dev`.
set -eu
version=$(temporal --version | sed -n 's/.*(Server \([0-9][0-9.]*\).*/\1/p')
[ -n "$version" ] || { echo "temporal --version names no server version: use an image of the Temporal CLI" >&2; exit 1; }
# This server migrates no database: another version of it has another file.
database="temporal-$version.db"
cd "$DATA"
if [ -f "restore/$database" ]; then
  rm -rf before-restore && mkdir before-restore
  for file in "$database" "$database-wal" "$database-shm"; do if [ -f "$file" ]; then mv "$file" before-restore/; fi; done
  mv restore/* . && rmdir restore
  echo "restored $database; the former one is in $DATA/before-restore" >&2
elif [ -d restore ]; then
  echo "$DATA/restore holds $(ls restore) and not $database: nothing is restored" >&2
fi
# It makes its namespace with a retention of one day.
(
  until temporal operator cluster health >/dev/null 2>&1; do sleep 1; done
  until temporal operator namespace update --namespace default --retention "$RETENTION"; do sleep 5; done
) &
exec temporal server start-dev --db-filename="$DATA/$database" "$@"
