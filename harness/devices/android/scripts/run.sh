# $1 the work folder, $2 seconds after which nothing may be left, $3 seconds between looks at the clocks,
# $4 looks between looks at the thermal status, $5 the thermal status that ends the run, $6 mask of cores or nothing;
# then the runner's command line.
cd "$1" || exit 119
limit=$2 pause=$3 thermal=$4 severe=$5 mask=$6
shift 6
echo $$ > pid

# Only a group of our own may be killed as one.
read -r line < /proc/$$/stat
line=${line##*) }
line=${line#* }
line=${line#* }
group=${line%% *}
runner=
end() {
  [ "$group" = $$ ] && kill -KILL 0
  [ -n "$runner" ] && kill -KILL "$runner"
  exit 118
}
# adbd sends this when its side of the connection is gone.
trap end HUP INT TERM

# On most devices the cores' files are links to their policy's.
states() {
  grep . /sys/devices/system/cpu/cpufreq/policy*/stats/time_in_state /dev/null 2>/dev/null ||
    grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/stats/time_in_state /dev/null 2>/dev/null
}
states > states_before

watch() {
  looks=0
  while sleep "$pause" 2>/dev/null 3>&-; do
    [ "$SECONDS" -ge "$limit" ] && end
    kill -0 $$ || end
    line=$SECONDS
    for file in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq; do
      clock=
      read -r clock < "$file"
      line="$line ${clock:--}"
    done
    echo "$line" >> clocks
    looks=$((looks + 1))
    if [ $((looks % thermal)) = 0 ]; then
      status=$(dumpsys thermalservice 3>&- | grep -m 1 '^ *Thermal Status:')
      status=${status##*: }
      case $status in
        [0-6]) echo "$SECONDS $status" >> thermal; [ "$status" -ge "$severe" ] && echo "harness: thermal status $status" >&3 ;;
      esac
    fi
  done
}
watch 3>&2 </dev/null >/dev/null 2>/dev/null &
watcher=$!

# The shell that notes its cores becomes the runner: the cores noted are the runner's, and so are cpuset and priority.
launch='grep Cpus_allowed_list /proc/$$/status > allowed 2>/dev/null
for name in status cgroup cpuset oom_score_adj stat timerslack_ns; do
  echo "@$name"; while read -r line; do echo "$line"; done < /proc/$$/$name
done > process 2>/dev/null
exec "$@"'
if [ -n "$mask" ]; then
  taskset "$mask" /system/bin/sh -c "$launch" harness-start "$@" </dev/null &
else
  /system/bin/sh -c "$launch" harness-start "$@" </dev/null &
fi
runner=$!
wait "$runner"
status=$?
kill -KILL "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
states > states_after
exit "$status"
