# $1 a work folder in which an app was started: ends the app, and brings what its runner wrote into the work folder.
cd "$1" 2>/dev/null || exit 0
[ -f app ] && [ -f app_out ] || exit 0
read -r package < app
read -r out < app_out
am force-stop "$package" >/dev/null 2>&1
for file in "$out"/result-*.jsonl; do
  [ -f "$file" ] && cp "$file" "./${file##*/}"
done
for name in process system; do
  [ -f "$out/$name" ] && cp "$out/$name" "./$name"
done
grep Cpus_allowed_list process > allowed 2>/dev/null
{ cmd game list-modes "$package" || cmd game mode "$package"; } 2>/dev/null | head -n 3 > game
rm -rf "$out" app_out
exit 0
