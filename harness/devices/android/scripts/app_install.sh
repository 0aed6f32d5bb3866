# $1 an APK, $2 the words that every package of the harness begins with, $3 packages that stay. Prints what pm prints.
for other in $(pm list packages "$2" 2>/dev/null); do
  other=${other#package:}
  case " $3 " in *" $other "*) continue ;; esac
  case $other in "$2".*) pm uninstall "$other" >/dev/null 2>&1 ;; esac
done
pm install -r -t "$1" 2>&1
exit 0
