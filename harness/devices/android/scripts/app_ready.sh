# Whether an app can be seen: the screen on, and no lock that asks for a PIN. Prints what app.py reads.
input keyevent 224 >/dev/null 2>&1
wm dismiss-keyguard >/dev/null 2>&1
dumpsys trust 2>/dev/null | grep -m 1 '(current).*deviceLocked='
exit 0
