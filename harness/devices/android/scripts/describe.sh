# $1 seconds after which the runner is ended; then the runner's command line. The runner's exit status is printed, on a
# line after everything that the runner printed: adbd's is the shell's.
limit=$1
shift
"$@" </dev/null &
runner=$!
# adbd sends HUP when its side of the connection is gone. toybox's timeout would die of it and leave the runner.
trap 'kill -KILL "$runner"' HUP INT TERM
{
  while sleep 1 && kill -0 $$; do
    [ "$SECONDS" -ge "$limit" ] && kill -KILL "$runner"
  done
} </dev/null >/dev/null 2>&1 &
guard=$!
wait "$runner"
status=$?
kill -KILL "$guard"
echo
echo "status $status"
