# $1 seconds after which the runner is ended; then the runner's command line.
# toybox's timeout (0.8.8 and 0.8.9) may exit with a status that is not the command's, under load (landley/toybox#389):
# the runner's own is printed, on a line after everything that the runner printed.
limit=$1
shift
exec timeout -s TERM "$limit" /system/bin/sh -c '
"$@" </dev/null &
trap "kill -KILL $!" TERM
wait $!
status=$?
echo
echo "status $status"
' harness-describe "$@"
