# $1 base folder, $2 this computer's name, $3 the work folder's name or nothing, $4 the runner's SHA-256,
# $5 its bytes, $6 yes: check its contents, $7 runners to keep. Prints words that store.py reads.
base=$1 host=$2 name=$3 hash=$4 bytes=$5 check=$6 keep=$7
store=$base/harness-store

end_all() {
  ls -l /proc/[0-9]*/cwd 2>/dev/null | while read -r line; do
    case $line in
      *" -> $1"|*" -> $1/"*) line=${line#*/proc/}; $2 "${line%%/*}" ;;
    esac
  done
}
end_one() { [ "$1" = $$ ] || kill -KILL "$1" 2>/dev/null; }
show_one() { echo "$1"; }

for folder in "$base"/harness-*; do
  [ -d "$folder" ] || continue
  other=${folder#"$base"/harness-}
  case $other in
    store) continue ;;
    # The lock is held: whatever else carries this computer's name was left by a harness that died.
    "$host"-*)
      end_all "$folder" end_one
      [ -f "$folder/restore" ] && /system/bin/sh "$folder/restore" >/dev/null 2>&1
      rm -rf "$folder"
      echo "stale ${folder##*/}"
      continue ;;
  esac
  # Another computer's: in use while something runs there, rubbish after a day.
  if [ -n "$(end_all "$folder" show_one)" ]; then
    echo "busy ${other%-*}"
    exit 0
  fi
  made=$(stat -c %Y "$folder" 2>/dev/null)
  if [ -n "$made" ] && [ $(($(date +%s) - made)) -gt 86400 ]; then
    rm -rf "$folder"
    echo "stale ${folder##*/}"
  fi
done

if [ -n "$name" ]; then
  words=$(mkdir -m 700 "$base/$name" 2>&1) || { echo "unwritable $words"; exit 0; }
fi
words=$(mkdir -p "$store" 2>&1) || { echo "unwritable $words"; exit 0; }

# What is being written by another harness has a name that is no hash.
for old in $(ls -t "$store" 2>/dev/null | grep -v '\.' | grep -vx "$hash" | tail -n +"$keep"); do rm -f "$store/$old"; done

if [ "$(stat -c %s "$store/$hash" 2>/dev/null)" = "$bytes" ]; then
  if [ "$check" != yes ]; then
    echo known
  else
    found=$(sha256sum "$store/$hash" 2>/dev/null)
    [ "${found%% *}" = "$hash" ] && echo known || rm -f "$store/$hash"
  fi
  touch -c "$store/$hash" 2>/dev/null
else
  rm -f "$store/$hash"
fi
exit 0
