# What changes from run to run, in one go.
echo "#thermal"
# Some have a hundred sensors, and list all of them twice.
dumpsys thermalservice 2>/dev/null | head -n 600
echo "#headroom"
cmd thermalservice headroom 20 2>/dev/null | head -n 5
echo "#battery"
dumpsys battery 2>/dev/null | head -n 100
echo "#governors"
grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor /dev/null 2>/dev/null
echo "#clocks"
grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq /dev/null 2>/dev/null
echo "#limits"
grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq /dev/null 2>/dev/null
echo "#memory"
grep -E '^(MemFree|MemAvailable):' /proc/meminfo 2>/dev/null
echo "#load"
cat /proc/loadavg 2>/dev/null
echo "#airplane"
settings get global airplane_mode_on 2>/dev/null | head -n 5
exit 0
