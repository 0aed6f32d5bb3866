# What a device is, in one go.
echo "#props"
getprop
echo "#cpuinfo"
cat /proc/cpuinfo 2>/dev/null | head -n 400
echo "#memory"
grep '^MemTotal:' /proc/meminfo 2>/dev/null
echo "#kernel"
uname -sr
echo "#machine"
uname -m
echo "#boot"
cat /proc/sys/kernel/random/boot_id 2>/dev/null
echo "#online"
cat /sys/devices/system/cpu/online 2>/dev/null
echo "#possible"
cat /sys/devices/system/cpu/possible 2>/dev/null
echo "#max"
grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq /dev/null 2>/dev/null
echo "#capacity"
grep . /sys/devices/system/cpu/cpu[0-9]*/cpu_capacity /dev/null 2>/dev/null
echo "#governors"
grep . /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor /dev/null 2>/dev/null
exit 0
