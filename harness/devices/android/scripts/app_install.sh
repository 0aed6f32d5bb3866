# $1 an APK, $2 the words that every package of the harness begins with, $3 packages that stay. Prints what pm prints.
for other in $(pm list packages "$2" 2>/dev/null); do
  other=${other#package:}
  case " $3 " in *" $other "*) continue ;; esac
  case $other in "$2".*) pm uninstall "$other" >/dev/null 2>&1 ;; esac
done
# Some installers look at the name's end.
file=${1%/*}/app.apk
mv -f "$1" "$file" && pm install -r -t "$file" 2>&1
rm -f "$file"
exit 0
