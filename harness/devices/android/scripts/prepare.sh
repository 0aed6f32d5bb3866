# $1 base folder, $2 this computer's name, $3 this session's, $4 the work folder's. Prints words for workfolder.py.
base=$1 host=$2 session=$3 name=$4
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
      [ -f "$folder/app" ] && read -r app < "$folder/app" && pm uninstall "$app" >/dev/null 2>&1
      rm -rf "$folder"
      echo "stale ${folder##*/}"
      continue ;;
  esac
  # Another computer's: in use while something runs there, rubbish after a day.
  if [ -n "$(end_all "$folder" show_one)" ]; then
    echo "busy ${other%-*}"
    exit 0
  fi
  made=$(stat -c %Y "$folder" 2>/dev/null | grep -E '^[0-9]+$' | tail -n 1)
  if [ -n "$made" ] && [ $(($(date +%s) - made)) -gt 86400 ]; then
    rm -rf "$folder"
    echo "stale ${folder##*/}"
  fi
done

# Runners that another session pushed and never verified.
for file in "$store"/*."$host"; do
  case $file in
    *".$session.$host") ;;
    *) rm -f "$file" ;;
  esac
done
rm -f "$store/app.apk"
words=$(mkdir -m 700 "$base/$name" 2>&1) || echo "unwritable $words"
exit 0
