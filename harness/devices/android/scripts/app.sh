# $1 the app's package, $2 its activity, $3 mask of cores or nothing, $4 records expected, $5 seconds between looks,
# $6 seconds after which the app ends if nobody follows it; then the runner's arguments. In a work folder. Starts the app, prints what its runner writes, and ends as the runner ended.
# What is wrong with the app itself is on a line of stderr that begins with `harness-app: `.
package=$1 activity=$2 mask=$3 records=$4 pause=$5 patience=$6
shift 6
folder=$PWD
# Each start has a folder of its own: what an earlier one left is not taken for this one's.
name=${folder##*/}.$$
out=/sdcard/Android/data/$package/files/$name
newline='
'
arguments= result=stdout
while [ $# -gt 0 ]; do
  case $1 in
    --stream) ;;
    --order) arguments="$arguments--order$newline$folder/$2$newline"; shift ;;
    --result) arguments="$arguments--result$newline$2$newline" result=$2; shift ;;
    *) arguments="$arguments$1$newline" ;;
  esac
  shift
done

fail() { echo "harness-app: $1" >&2; exit "$2"; }
# Why Android ended the app, in its own words (Android 11 and newer).
why() {
  dumpsys activity exit-info "$package" 2>/dev/null | grep -m 1 -o 'reason=.*' | cut -c 1-200
}

# Whoever cleans up ends the app, too.
echo "$package" > app
echo "$out" > app_out
echo "am force-stop $package >/dev/null 2>&1" >> restore
# The app is another user, who has to read the order, and see that somebody follows.
chmod 711 . && chmod 644 ./*.json 2>/dev/null
beat() { n=0; while kill -0 $$ 2>/dev/null; do n=$((n + 1)); echo $n > alive; chmod 644 alive; sleep 1; done; }
echo 0 > alive
chmod 644 alive
beat </dev/null >/dev/null 2>&1 &
beat=$!
trap 'kill -KILL $beat 2>/dev/null' EXIT

words=$(timeout 20 am start -S -W -n "$package/$activity" --es folder "$folder" --es name "$name" --es mask "$mask" \
  --es records "$records" --es patience "$patience" --es arguments "$arguments" 2>&1 </dev/null | grep -v '^Starting: ')
case $words in *Error*|*Exception*) fail "not started: $words" 120 ;; esac
until=$((SECONDS + 20))
while [ ! -s "$out/pid" ]; do
  if [ "$SECONDS" -ge "$until" ]; then
    [ -n "$(pidof "$package")" ] && fail "not started: it runs, but writes nothing into $out within 20 s" 120
    fail "not started: nothing was heard of it within 20 s; $(why)" 120
  fi
  sleep 0.1
  # An app that crashed at its start has no process, and Android knows why.
  [ -z "$(pidof "$package")" ] && sleep 1 && [ ! -s "$out/pid" ] && [ -z "$(pidof "$package")" ] &&
    fail "not started: it ended at once; $(why)" 120
done
read -r app runner < "$out/pid"

sent=0 gone=
while :; do
  ended=
  [ -s "$out/status" ] && ended=yes
  size=$(stat -c %s "$out/$result" 2>/dev/null)
  if [ "${size:-0}" -gt "$sent" ]; then
    tail -c "+$((sent + 1))" "$out/$result" | head -c "$((size - sent))"
    sent=$size
  fi
  [ -n "$ended$gone" ] && break
  # One more look after the app's end: what it wrote last is read first.
  [ -d "/proc/$app" ] || gone=yes
  [ -n "$gone" ] || sleep "$pause"
done
tail -c 4096 "$out/stderr" 2>/dev/null >&2
[ -n "$ended" ] || fail "Android ended it; $(why)" 121
read -r kind rest < "$out/status"
case $kind in
  exit) exit "$rest" ;;
  signal) exit $((128 + rest)) ;;
  *) fail "$rest" 122 ;;
esac
