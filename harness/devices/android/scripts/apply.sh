# $1 the work folder, $2 mask of cores to try or nothing, $3 the knobs wanted, in words.
# Before a knob is changed, the command that undoes it is in the file `restore`. Prints sections that knobs.py reads.
folder=$1 mask=$2 wanted=" $3 "
# Once more after a loss: what was before is known already.
known=no
[ -f "$folder/restore" ] && known=yes
undo() {
  [ $known = yes ] && return
  echo "echo '@$1'; { $2; } 2>&1; echo \"status \$?\"; echo 'now'; { $3; } 2>&1" >> "$folder/restore"
}
# A setting that is a number or not set; nothing if it cannot be had. Warnings of linkers and shells stand before values.
setting() {
  value=$(settings get global "$1" 2>/dev/null | grep -E '^(null|[0-9]+)[[:space:]]*$' | tail -n 1)
  echo "${value%%[!0-9a-z]*}"
}
wants() { case $wanted in *" $1 "*) return 0 ;; esac; return 1; }

if wants pinned; then
  echo "@pinned"
  if [ -n "$mask" ]; then taskset "$mask" true 2>&1; echo "status $?"; else echo "no topology"; fi
fi
if wants fixed_performance; then
  echo "@fixed_performance"
  undo fixed_performance 'cmd power set-fixed-performance-mode-enabled false' ':'
  cmd power set-fixed-performance-mode-enabled true 2>&1
  echo "status $?"
fi
if wants stay_awake; then
  echo "@stay_awake"
  before=$(setting stay_on_while_plugged_in)
  # What cannot be put back is not changed.
  if [ -z "$before" ]; then
    settings get global stay_on_while_plugged_in 2>&1
    echo "status 1"
  else
    echo "before $before"
    now='settings get global stay_on_while_plugged_in'
    case $before in
      null) undo stay_awake 'settings delete global stay_on_while_plugged_in' "$now" ;;
      *) undo stay_awake "settings put global stay_on_while_plugged_in $before" "$now" ;;
    esac
    settings put global stay_on_while_plugged_in 7 2>&1
    echo "status $?"
    echo "now $(setting stay_on_while_plugged_in)"
  fi
fi
if wants screen; then
  echo "@screen"
  # Samsung's and others' name the method that they ask, some print a number.
  before=$(dumpsys power 2>/dev/null | grep -E -m 1 '^ *(mWakefulness|get[A-Za-z]*WakefulnessLocked\(\))=')
  before=${before##*=}
  before=${before%%[!0-9A-Za-z]*}
  echo "before $before"
  case $before in
    Awake|1|'') ;;
    *)
      undo screen 'input keyevent 223' ':'
      input keyevent 224 2>&1
      echo "status $?" ;;
  esac
fi
exit 0
