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
  before=$(settings get global stay_on_while_plugged_in 2>&1)
  echo "before $before"
  case $before in
    null) undo stay_awake 'settings delete global stay_on_while_plugged_in' 'settings get global stay_on_while_plugged_in' ;;
    *[!0-9]*|'') ;;
    *) undo stay_awake "settings put global stay_on_while_plugged_in $before" 'settings get global stay_on_while_plugged_in' ;;
  esac
  settings put global stay_on_while_plugged_in 7 2>&1
  echo "status $?"
  echo "now $(settings get global stay_on_while_plugged_in 2>&1)"
fi
if wants screen; then
  echo "@screen"
  before=$(dumpsys power 2>/dev/null | grep -m 1 'mWakefulness=')
  before=${before##*=}
  echo "before $before"
  case $before in
    Awake|'') ;;
    *)
      undo screen 'input keyevent 223' ':'
      input keyevent 224 2>&1
      echo "status $?" ;;
  esac
fi
exit 0
